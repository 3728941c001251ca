//! The loop against chance, in paused time: leaders come and go, pgpool loses requests, is slow or
//! restarts, servers hang, etcd falls silent, the agent is killed anywhere. `SIM_SEED` plays one.

mod support;

use std::time::Duration;

use tokio::time::sleep;

use geo_agent::model::reach::Answer;
use geo_agent::patroni::Seen;
use geo_agent::seams::PoolRequest;

use support::lab::{Lab, State};
use support::world::{World, home, world};

const NAMES: [&str; 4] = ["eu-1", "eu-2", "eu-3", "us-1"];
const SEEDS: u64 = 60;
/// From the last fault until all is as it should be.
const BOUND: Duration = Duration::from_secs(60);

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len() as u64) as usize]
    }
}

fn base() -> World {
    let cluster = world().leader("eu-1").replica("eu-2").replica("eu-3").replica("us-1");
    cluster.primary("eu-1").up("eu-2", 1.0).up("eu-3", 1.0).down("us-1")
}

#[test]
fn whatever_happens_nothing_bad_is_done_and_it_comes_to_rest() {
    let one = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok());
    let seeds = one.map_or(0..SEEDS, |s: u64| s..s + 1);
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let trouble = runtime.block_on(play(seed));
        assert!(trouble.is_empty(), "SIM_SEED={seed}: {}", trouble.join("\n"));
    }
}

async fn play(seed: u64) -> Vec<String> {
    let mut chance = Chance(seed);
    let lab = Lab::of(&base());
    lab.state().judge = Some(judge);
    let mut it = base();
    for _ in 0..25 {
        let life = Duration::from_millis(chance.below(9_000));
        tokio::select! {
            () = lab.agent().run(|_| {}) => {}
            () = lab.vigil() => {}
            () = sleep(life) => {} // killed where it stands, now and then
        }
        happen(&lab, &mut it, &mut chance);
        lab.look_at_the_watched();
    }
    it = it.leads_now(chance.name());
    lab.becomes(&it);
    {
        let mut state = lab.state();
        (state.away, state.losses, state.refusals, state.syntax_error) = (false, 0, 0, false);
    }
    tokio::select! {
        _ = lab.run_for(BOUND) => {}
        () = lab.vigil() => {}
    }
    let mut trouble = lab.state().trouble.clone();
    trouble.extend(why_not_at_rest(&lab, &it));
    trouble
}

fn happen(lab: &Lab, it: &mut World, chance: &mut Chance) {
    let name = chance.name();
    match chance.below(12) {
        0..=2 => {
            let answer = if chance.below(3) == 0 { Answer::ReadOnly } else { Answer::Writable };
            *it = it.clone().leads_now(name).answers(name, answer);
            lab.becomes(it);
        }
        3 => lab.answers(&home(name), Answer::Hung("no answer".to_owned())),
        4 => lab.answers(&home(name), Answer::Dead("connection refused".to_owned())),
        5 => lab.becomes(it),
        6 => lab.etcd_is_lost(),
        7 => {
            let mut nobody = it.clone();
            nobody.view().leader = None;
            lab.becomes(&nobody);
        }
        8 => lab.state().losses = chance.below(3) as usize,
        9 => lab.state().refusals = chance.below(3) as usize,
        10 => lab.state().pool.delay = Duration::from_millis(chance.below(1_500)),
        _ => {
            let up = chance.below(16);
            let mut state = lab.state();
            state.away = !state.away;
            state.restart_pgpool(|slot| up >> slot & 1 == 1);
        }
    }
}

/// What must hold whenever a request arrives.
fn judge(state: &State, word: &Seen, request: PoolRequest) -> Option<String> {
    let Some(view) = word.known() else { return Some("etcd is silent".to_owned()) };
    let pool = &state.pool;
    let hangs = |s: &usize| pool.hung.contains(&home_of(&pool.slots[*s].host));
    let serves =
        |s: &usize| state.truth.get(&home_of(&pool.slots[*s].host)).is_some_and(|a| a.is_alive());
    let primary_is_gone = pool.primary.is_some_and(|p| !serves(&p));
    let Some(leader) = view.leader_member().and_then(|m| m.address.as_ref().ok()) else {
        let stands_in =
            matches!(request, PoolRequest::Promote(s) if primary_is_gone && serves(&s.get()));
        return (!stands_in && request != PoolRequest::Reload).then(|| "nobody leads".to_owned());
    };
    if matches!(request, PoolRequest::Detach(slot) if hangs(&slot.get())) {
        return None; // it serves nobody
    }
    if takes_the_reads_away(state, request) {
        return Some(format!("nobody takes the reads of {:?} then", pool.attached()));
    }
    match request {
        PoolRequest::Promote(slot) => {
            let live = &pool.slots[slot.get()];
            let leads = live.host == leader.host() && live.port == leader.port();
            let stands_in = primary_is_gone && serves(&slot.get());
            (!leads && !stands_in).then(|| format!("{} does not lead", live.host))
        }
        PoolRequest::Detach(slot) if pool.attached() == [slot.get()] => {
            Some("the last attached slot".to_owned())
        }
        _ => None,
    }
}

/// Whether somebody attached has a weight now, and nobody will.
fn takes_the_reads_away(state: &State, request: PoolRequest) -> bool {
    let attached = state.pool.attached();
    let now = |s: &usize| state.pool.slots[*s].weight > 0.0;
    let mut in_file = state.file.entries.iter().filter(|(s, _)| attached.contains(&s.get()));
    let then = match request {
        PoolRequest::Reload => in_file.any(|(_, e)| e.weight > 0.0),
        PoolRequest::Promote(slot) => now(&slot.get()),
        PoolRequest::Detach(slot) => attached.iter().any(|s| *s != slot.get() && now(s)),
        PoolRequest::Attach(_) => return false,
    };
    attached.iter().any(now) && !then
}

fn home_of(host: &str) -> geo_agent::model::ids::Address {
    home(host.trim_end_matches(".db"))
}

fn why_not_at_rest(lab: &Lab, it: &World) -> Option<String> {
    let state = lab.state();
    let leader = it.cluster.as_ref().ok()?.leader.as_ref()?.as_raw();
    let host = |s: &usize| state.pool.slots[*s].host.trim_end_matches(".db").to_owned();
    let attached: Vec<String> = state.pool.attached().iter().map(host).collect();
    let mut wanted = vec!["eu-1".to_owned(), "eu-2".to_owned(), "eu-3".to_owned()];
    if leader == "us-1" {
        wanted.push("us-1".to_owned());
    }
    let primary = state.pool.primary.as_ref().map(host);
    (attached != wanted || primary.as_deref() != Some(leader))
        .then(|| format!("{leader} leads, pgpool has {primary:?} of {attached:?}"))
}
