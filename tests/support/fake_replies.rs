//! What a [`FakePool`] answers over PCP, in bytes, by its version.

use geo_agent::model::ids::SlotIndex;
use geo_agent::model::pool::PoolVersion;
use geo_agent::pcp::frame::{framed, text};
use geo_agent::seams::PoolRequest;

use super::fake_pool::FakePool;
use super::refusal::Refusal;

/// `srand`'s top, by which pgpool multiplies shares.
const RAND_MAX: f64 = 2_147_483_647.0;

/// Answers one request of a client that has logged in.
pub fn answer(pool: &mut FakePool, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    match tag {
        b'L' => packet(out, b'l', &["CommandComplete", &pool.slots.len().to_string()]),
        b'I' => node_info(pool, number(body), out)?,
        b'B' => settings(pool, out),
        b'P' => processes(pool, out),
        b'W' => watchdog(pool, out)?,
        b'C' => change(pool, PoolRequest::Attach, body, b'c', out)?,
        b'D' => change(pool, PoolRequest::Detach, body, b'd', out)?,
        b'J' => promote(pool, body, out)?,
        b'Z' => {
            pool.request(PoolRequest::Reload)?;
            packet(out, b'z', &["CommandComplete"]);
        }
        b'T' => packet(out, b't', &["CommandComplete"]),
        other => {
            let detail = format!("unknown PCP packet type \"{}\"", char::from(other));
            return Err(Refusal::fatal("PCP processing request", detail));
        }
    }
    Ok(())
}

/// Appends an error packet.
pub fn error(refusal: &Refusal, out: &mut Vec<u8>) {
    let severity = if refusal.is_fatal { "SFATAL" } else { "SERROR" };
    let message = format!("M{}", refusal.message);
    let detail = format!("D{}", refusal.detail);
    let mut fields = vec![severity, "CXX000", &message];
    fields.extend((!refusal.detail.is_empty()).then_some(detail.as_str()));
    fields.extend(["Fpcp_worker.c", "L1", ""]);
    packet(out, b'E', &fields);
}

pub fn packet(out: &mut Vec<u8>, tag: u8, strings: &[&str]) {
    framed(tag, out, |body| strings.iter().for_each(|s| text(body, s)));
}

/// As C's `atoi`: digits up to the first byte that is none, 0 if there are none.
fn number(body: &[u8]) -> i64 {
    let digits = |b: &&u8| b.is_ascii_digit() || **b == b'-';
    let text: String = body.iter().take_while(digits).map(|b| char::from(*b)).collect();
    text.parse().unwrap_or(0)
}

fn node_info(pool: &FakePool, asked: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let lists_all = pool.version >= PoolVersion::V43;
    let all = 0..pool.slots.len();
    let asked: Vec<usize> = match usize::try_from(asked) {
        Ok(slot) if all.contains(&slot) => vec![slot],
        Err(_) if lists_all && asked == -1 => all.collect(),
        _ => {
            let detail = format!("invalid node ID : {asked}");
            return Err(Refusal::error("informing node info failed", detail));
        }
    };
    if lists_all {
        packet(out, b'i', &["ArraySize", &asked.len().to_string()]);
    }
    for slot in asked {
        let fields = node_fields(pool, slot);
        packet(out, b'i', &fields.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if lists_all {
        packet(out, b'i', &["CommandComplete"]);
    }
    Ok(())
}

fn node_fields(pool: &FakePool, number: usize) -> Vec<String> {
    let slot = &pool.slots[number];
    let weight = match pool.share(number) * RAND_MAX {
        nan if nan.is_nan() => "-nan".to_owned(),
        weight => format!("{weight:.6}"),
    };
    let role = if pool.primary == Some(number) { "2" } else { "3" };
    let (port, status) = (slot.port.to_string(), slot.status.to_string());
    let head = [&slot.host, port.as_str(), status.as_str(), "0"];
    let fields: Vec<&str> = match pool.version {
        PoolVersion::UpTo41 | PoolVersion::V42 => {
            [&["CommandComplete"], &head[..], &[&weight, role, "0", "", "", "1795224985"]].concat()
        }
        version => {
            let by_time: &[&str] = if version >= PoolVersion::V44 { &["0"] } else { &[] };
            let middle = ["unknown", &weight, role, "unknown"];
            let tail = ["0", "", "", "1795224985"];
            [&["NodeInfo"], &head[..], &middle, by_time, &tail].concat()
        }
    };
    fields.into_iter().map(str::to_owned).collect()
}

fn settings(pool: &FakePool, out: &mut Vec<u8>) {
    let settings = pool.all_settings();
    framed(b'b', out, |body| {
        text(body, "ArraySize");
        body.extend((settings.len() as u32).to_be_bytes());
    });
    for (name, value) in &settings {
        packet(out, b'b', &["ProcessConfig", name, value, "its description"]);
    }
    packet(out, b'b', &["CommandComplete"]);
}

/// One child per session and one that waits; a row per slot for each.
fn processes(pool: &FakePool, out: &mut Vec<u8>) {
    let idle = (99_999, usize::MAX);
    let children = pool.sessions.iter().map(|(pid, reads)| (*pid, *reads)).chain([idle]);
    let children: Vec<(u32, usize)> = children.collect();
    let rows = children.len() * pool.slots.len();
    packet(out, b'p', &["ArraySize", &rows.to_string()]);
    for (pid, reads) in children {
        for slot in 0..pool.slots.len() {
            process_row(pool, pid, slot, reads, out);
        }
    }
    packet(out, b'p', &["CommandComplete"]);
}

fn process_row(pool: &FakePool, pid: u32, slot: usize, reads: usize, out: &mut Vec<u8>) {
    let in_session = reads != usize::MAX && pool.is_attached(slot);
    let connected = if in_session { "1" } else { "0" };
    let status = if reads == usize::MAX { "Wait for connection" } else { "Idle" };
    let (pid, slot_text) = (pid.to_string(), slot.to_string());
    if pool.version <= PoolVersion::V42 {
        let head = ["ProcessInfo", &pid, "db", "user", "0", "0", "3", "0", "1", &slot_text, "1"];
        return packet(out, b'p', &[&head[..], &[connected]].concat());
    }
    let head = ["ProcessInfo", &pid, "start", "0", "0", &slot_text, "db", "user", "", "", "", "0"];
    let mut fields = [&head[..], &["3", "0", "1", "1", connected, status]].concat();
    if pool.version >= PoolVersion::V45 {
        fields.push(if in_session && reads == slot { "1" } else { "0" });
    }
    packet(out, b'p', &fields);
}

fn watchdog(pool: &FakePool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let Some(watchdog) = &pool.watchdog else {
        let message = "PCP: informing watchdog info failed";
        return Err(Refusal::error(message, "watchdog is not enabled"));
    };
    let node = |(name, state): &(String, String)| serde_json::json!({"NodeName": name, "StateName": state});
    let json = serde_json::json!({
        "QuorumStatus": if watchdog.quorum { 1 } else { -1 },
        "LeaderNodeName": watchdog.leader.as_deref().unwrap_or("Not Set"),
        "WatchdogNodes": watchdog.nodes.iter().map(node).collect::<Vec<_>>(),
    });
    packet(out, b'w', &["CommandComplete", &json.to_string()]);
    Ok(())
}

fn change(
    pool: &mut FakePool,
    request: fn(SlotIndex) -> PoolRequest,
    body: &[u8],
    tag: u8,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let asked = number(body);
    let slot = usize::try_from(asked).ok().and_then(SlotIndex::new);
    let out_of_range = || Refusal::error(format!("node id: {asked} is out of range"), "");
    pool.request(request(slot.ok_or_else(out_of_range)?))?;
    packet(out, tag, &["CommandComplete"]);
    Ok(())
}

/// Two bytes behind the number stands the option; any other than `n` is a bug of the agent's.
fn promote(pool: &mut FakePool, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let at = body.iter().position(|b| *b == b' ').map(|space| space + 2);
    assert_eq!(at.and_then(|at| body.get(at)), Some(&b'n'), "promote with body {body:?}");
    change(pool, PoolRequest::Promote, body, b'd', out)
}
