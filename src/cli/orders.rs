//! `geo-agent hold`, `release` and `locate`: what an operator orders for all sites at once. These
//! commands speak to etcd alone; every agent of the cluster sees an order with its next event.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};

use crate::config::settings::{Config, Etcd};
use crate::model::cluster::{ClusterView, Member};
use crate::model::ids::{MemberName, printable};
use crate::model::orders::Held;
use crate::patroni::orders::{VALUE_TEXT_MAX, location_value};
use crate::patroni::read::read_once;
use crate::patroni::write;

use super::FAILED;
use super::utc::utc;

/// etcd ends a shorter lease no sooner: its own election takes seconds.
const SHORTEST: Duration = Duration::from_secs(10);
/// What is to last longer should stand where everybody looks for it: as the tag `noloadbalance`.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a hold lasts, as `--for` says it.
pub fn length(text: &str) -> Result<Duration, String> {
    const FORMS: &str = "write a number with its unit: 90s, 30m, 2h, 1d";
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or(FORMS)?);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(FORMS.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| FORMS)?;
    let length = Duration::from_secs(number.saturating_mul(seconds));
    match (SHORTEST..=LONGEST).contains(&length) {
        true => Ok(length),
        false => Err("from 10s to 7d; for longer, give the member the tag noloadbalance".into()),
    }
}

/// A reason or a location: one line that prints as it is.
pub fn words(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("it is empty".to_owned()),
        n if n > VALUE_TEXT_MAX => Err(format!("it has more than {VALUE_TEXT_MAX} characters")),
        _ if printable(text) != text => Err("it has control characters".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

pub async fn hold(
    config: &Config,
    member: &str,
    lasts: Duration,
    reason: Option<String>,
) -> anyhow::Result<u8> {
    let view = read_once(&config.etcd).await?;
    let member = listed(&view, member, &config.etcd)?;
    let (now, name) = (SystemTime::now(), &member.name);
    let until = utc(now + lasts);
    let held =
        Held { by: Some(whoever()), since: Some(utc(now)), until: Some(until.clone()), reason };
    write::hold(&config.etcd, name, &held, lasts).await?;
    let before = match &member.orders.held {
        Some(before) => format!("; before, it was {before}"),
        None => String::new(),
    };
    out!("{name} is held until {until}: no agent of this cluster gives it reads{before}");
    if view.leader.as_ref() == Some(name) && !view.standby_cluster {
        eprintln!(
            "geo-agent: warning: {name} leads: writes still go to it, and reads where no local \
             replica has them; to move them away: patronictl switchover"
        );
    }
    Ok(0)
}

pub async fn release(config: &Config, member: &str) -> anyhow::Result<u8> {
    let view = read_once(&config.etcd).await?;
    let name = MemberName::new(member);
    let Some(held) = view.orders_of(&name).and_then(|o| o.held.as_ref()) else {
        eprintln!("geo-agent: {name} is not held{}", others(&view, "held", |o| o.held.is_some()));
        return Ok(FAILED);
    };
    write::release(&config.etcd, &name).await?;
    out!("{name} is released: every agent treats it as its state and tags say; it was {held}");
    Ok(0)
}

pub async fn locate(config: &Config, member: &str, location: &str) -> anyhow::Result<u8> {
    let view = read_once(&config.etcd).await?;
    let member = listed(&view, member, &config.etcd)?;
    let name = &member.name;
    let value = location_value(location, &whoever(), &utc(SystemTime::now()));
    write::locate(&config.etcd, name, &value).await?;
    let tag = member.tags.get(&config.policy.location_tag);
    let tag = tag.map_or("it has no tag".to_owned(), |t| format!("its tag says {}", printable(t)));
    out!("{name} counts as being in {location} on all sites from now on ({tag})");
    if config.policy.local_backends.contains_key(name.as_raw()) {
        let own = "local_backends in the configuration of this host";
        eprintln!("geo-agent: warning: {own} names {name}, and wins here");
    }
    let there = |m: &Member| {
        let tag = m.tags.get(&config.policy.location_tag);
        m.name != *name && m.orders.location.as_ref().or(tag).is_some_and(|l| l == location)
    };
    if config.policy.location.as_deref() != Some(location) && !view.members.values().any(there) {
        eprintln!("geo-agent: warning: neither this host nor any other member is in {location}");
    }
    Ok(0)
}

pub async fn clear_location(config: &Config, member: &str) -> anyhow::Result<u8> {
    let view = read_once(&config.etcd).await?;
    let name = MemberName::new(member);
    if view.orders_of(&name).and_then(|o| o.location.as_ref()).is_none() {
        let others = others(&view, "located", |o| o.location.is_some());
        eprintln!("geo-agent: no order says where {name} is{others}");
        return Ok(FAILED);
    }
    write::clear_location(&config.etcd, &name).await?;
    out!("{name} is where its tag says again, on all sites");
    Ok(0)
}

/// The member of this name; an error names those that there are.
fn listed<'a>(view: &'a ClusterView, name: &str, etcd: &Etcd) -> anyhow::Result<&'a Member> {
    let base = &etcd.base;
    if view.members.is_empty() {
        bail!("Patroni lists no member under {base}/");
    }
    let all: Vec<String> = view.members.keys().map(MemberName::to_string).collect();
    view.members.get(&MemberName::new(name)).with_context(|| {
        format!("{} is no member under {base}/; there are: {}", printable(name), all.join(", "))
    })
}

/// The members with such an order, as the end of a sentence.
fn others(
    view: &ClusterView,
    what: &str,
    such: impl Fn(&crate::model::orders::Orders) -> bool,
) -> String {
    let names: Vec<String> =
        view.orders().filter(|(_, o)| such(o)).map(|(name, _)| name.to_string()).collect();
    match names.is_empty() {
        true => format!("; nobody is {what}"),
        false => format!("; {what}: {}", names.join(", ")),
    }
}

/// `user@host`, with the user that came before sudo.
fn whoever() -> String {
    let set = |name: &&str| std::env::var(name).is_ok_and(|v| !v.is_empty());
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find(set);
    let user = user.and_then(|name| std::env::var(name).ok()).unwrap_or("somebody".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_has_a_length_within_reason() {
        for (text, seconds) in
            [("10s", 10), ("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 7 * 86_400)]
        {
            assert_eq!(length(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "2", "h", "-1h", "9s", "8d", "2 h", "1h30m", "1.5h", "99999999999999999999d"]
        {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_words() {
        assert_eq!(words(" kernel update "), Ok("kernel update".to_owned()));
        for bad in ["", "  ", "a\nb", "\u{1b}[2J", &"x".repeat(VALUE_TEXT_MAX + 1)] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
    }
}
