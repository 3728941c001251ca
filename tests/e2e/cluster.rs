//! The Patroni cluster: what etcd says of it, and its members' daily life.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use etcd_client::{Client, CompactionOptions, DeleteOptions, GetOptions};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::docker::{Container, eventually, is};

pub const MEMBERS: [&str; 4] = ["eu-1", "eu-2", "us-1", "us-2"];
const SCOPE: &str = "/service/demo/";

/// Everything asynchronous happens here; the tests themselves are plain sequences.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
});

/// Work with etcd, straight from this host.
fn etcd<T, F: Future<Output = Result<T, etcd_client::Error>>>(
    work: impl FnOnce(Client) -> F,
) -> Result<T, String> {
    let ip = Container::of("etcd").ip().ok_or("etcd does not run")?;
    RUNTIME.block_on(async {
        let talk = async { work(Client::connect([format!("{ip}:2379")], None).await?).await };
        let talk = tokio::time::timeout(Duration::from_secs(2), talk).await;
        talk.map_err(|_| "etcd is silent".to_owned())?.map_err(|e| e.to_string())
    })
}

/// All of Patroni's keys, without the scope, and the revision.
pub fn keys() -> Result<(BTreeMap<String, String>, i64), String> {
    let read = etcd(|mut client| async move {
        client.get(SCOPE, Some(GetOptions::new().with_prefix())).await
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = read.kvs().iter().map(|kv| (text(&kv.key()[SCOPE.len()..]), text(kv.value())));
    Ok((pairs.collect(), read.header().map_or(0, |h| h.revision())))
}

pub fn put(key: &str, value: &str) {
    let (key, value) = (format!("{SCOPE}{key}"), value.to_owned());
    etcd(|mut client| async move { client.put(key, value, None).await }).expect("a put");
}

pub fn delete_members(prefix: &str) {
    delete(&format!("members/{prefix}"));
}

pub fn delete_orders() {
    delete("geo-agent/");
}

fn delete(prefix: &str) {
    let key = format!("{SCOPE}{prefix}");
    let all = Some(DeleteOptions::new().with_prefix());
    etcd(|mut client| async move { client.delete(key, all).await }).expect("a delete");
}

/// What happens when the leader's lease runs out, without the wait of 20 s for it.
pub fn end_the_lease() {
    let key = format!("{SCOPE}leader");
    etcd(|mut client| async move { client.delete(key, None).await }).expect("a delete");
}

/// Throws away etcd's history up to now.
pub fn compact() {
    let (_, revision) = keys().expect("etcd answers");
    let now = Some(CompactionOptions::new().with_physical());
    etcd(|mut client| async move { client.compact(revision, now).await }).expect("a compaction");
}

pub fn leader() -> Option<String> {
    keys().ok()?.0.get("leader").cloned()
}

/// Follows the leader key from now on; the returned wait ends when another member has it.
pub fn until_another_leads() -> impl FnOnce() -> String {
    let ip = Container::of("etcd").ip().expect("etcd runs");
    let key = format!("{SCOPE}leader");
    let mut stream = RUNTIME.block_on(async {
        let mut client = Client::connect([format!("{ip}:2379")], None).await.expect("etcd answers");
        client.watch(key, None).await.expect("a watch")
    });
    let before = leader();
    move || {
        RUNTIME.block_on(async {
            let wait = async {
                loop {
                    let events = stream.message().await.expect("etcd stays").expect("a message");
                    let values = events.events().iter().filter_map(|e| Some(e.kv()?.value_str()));
                    let mut names = values.filter_map(Result::ok).filter(|v| !v.is_empty());
                    if let Some(name) = names.find(|n| Some(*n) != before.as_deref()) {
                        return name.to_owned();
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(60), wait).await.expect("another leader")
        })
    }
}

/// A leader that is writable by Patroni's word, and these members streaming from it, as far as it is.
pub fn is_healthy(members: &[&str]) -> Result<String, String> {
    let (leader, astray) = who_does_not_follow(members)?;
    is(astray.is_empty(), format!("{leader} leads, and these do not follow: {astray:?}"))?;
    Ok(leader)
}

/// Under Patroni 3.0 a replica of a primary that was killed now and then does not find its way: it
/// stays `running` on an old timeline, or fails to start again and again ("requested timeline 10 is
/// not a child of this server's history"). It is made anew, as an operator does.
pub fn make_followers_follow() {
    let patience = Instant::now() + Duration::from_secs(30);
    while is_healthy(&MEMBERS).is_err() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(200));
    }
    for (member, key) in who_does_not_follow(&MEMBERS).map_or(Vec::new(), |(_, astray)| astray) {
        let said = rest(&member, "POST", "/reinitialize", "{\"force\":true}");
        println!("  {member} does not follow ({key}), so it is made anew: {said:?}");
    }
    eventually("a healthy cluster", 90, || is_healthy(&MEMBERS));
}

/// Who leads, and who of these members does not follow, with their keys.
fn who_does_not_follow(members: &[&str]) -> Result<(String, Vec<(String, Value)>), String> {
    let (keys, _) = keys()?;
    let name = keys.get("leader").ok_or("nobody leads")?;
    let of = |name: &str| {
        let value = keys.get(&format!("members/{name}")).ok_or(format!("no key of {name}"))?;
        serde_json::from_str::<Value>(value).map_err(|e| e.to_string())
    };
    let leader = of(name)?;
    let leads = matches!(leader["role"].as_str(), Some("primary" | "master"));
    is(leads && leader["state"] == "running", &leader)?;
    let mut astray = Vec::new();
    for member in members.iter().filter(|m| *m != name) {
        let replica = of(member)?;
        let follows = replica["role"] == "replica" && is_streaming(&replica);
        if !follows || !is_as_far(&replica, &leader) {
            astray.push(((*member).to_owned(), replica));
        }
    }
    Ok((name.clone(), astray))
}

/// Patroni 3.0 says `running`, also of one that gets no WAL; later ones also how.
fn is_streaming(member: &Value) -> bool {
    match member["replication_state"].as_str() {
        Some(how) => how == "streaming",
        None => member["state"] == "running" && !is_version_4(member),
    }
}

fn is_as_far(replica: &Value, leader: &Value) -> bool {
    const NEARLY: u64 = 1 << 20;
    let location = |m: &Value| m["xlog_location"].as_u64().unwrap_or_default();
    replica["timeline"] == leader["timeline"] && location(replica) + NEARLY > location(leader)
}

fn is_version_4(member: &Value) -> bool {
    member["version"].as_str().is_some_and(|v| v.starts_with('4'))
}

/// Patroni's own switchover, over its REST interface; it returns when the leader key has moved.
pub fn switch_over(to: &str) {
    eventually(&format!("a switchover to {to}"), 40, || {
        let from = leader().ok_or("nobody leads")?;
        if from == to {
            return Ok(());
        }
        let body = format!("{{\"leader\":\"{from}\",\"candidate\":\"{to}\"}}");
        let said = rest(&from, "POST", "/switchover", &body)?;
        is(leader().as_deref() == Some(to), said)
    });
}

/// What `patronictl restart --scheduled` does: a restart of this member in so many seconds.
pub fn schedule_restart(member: &str, seconds: u32) {
    let at = format!("+%Y-%m-%dT%H:%M:%SZ -d '{seconds} seconds'");
    let at = Container::of(member).shell(&format!("date -u {at}"));
    let said = rest(member, "POST", "/restart", &format!("{{\"schedule\":\"{at}\"}}"));
    assert!(said.as_ref().is_ok_and(|s| s.contains("Restart scheduled")), "{said:?}");
}

/// One request to a member's Patroni.
fn rest(member: &str, method: &str, path: &str, body: &str) -> Result<String, String> {
    let ip = Container::of(member).ip().ok_or(format!("{member} does not run"))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((ip, 8008))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    talk().map_err(|e| e.to_string())
}

/// Sets one of Patroni's tags as an operator does, in patroni.yml with a reload; `None` removes it.
pub fn tag(member: &str, name: &str, value: Option<&str>) {
    let container = Container::of(member);
    let line = |v| format!("sed -i 's/^tags:/&\\n  {name}: {v}/' $f;");
    let add = value.map_or(String::new(), line);
    container.shell(&format!(
        "f=/etc/patroni/patroni.yml; sed -i '/^  {name}: /d' $f; {add} \
         pkill -HUP -f '^[^ ]*python3'"
    ));
}

/// Where a member is; `None` while it does not run.
pub fn ip_of(member: &str) -> Option<Ipv4Addr> {
    Container::find(member)?.ip()
}
