//! Restarting pgpool: what the operator allows, what is known of earlier restarts, and a layout to
//! restart with.

use std::collections::BTreeSet;
use std::fmt;

use super::ids::SlotIndex;
use super::slots::SlotTable;

/// How, and how considerately, pgpool may be restarted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestartPolicy {
    pub mode: RestartMode,
    /// The times of day at which it may happen; none: at any time.
    pub window: Vec<DaySpan>,
    /// Restarts in any 60 minutes, whoever they failed or helped.
    pub max_per_hour: u32,
    /// Only while fewer client sessions than this are connected.
    pub when_sessions_below: Option<u32>,
}

/// Who restarts pgpool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartMode {
    #[default]
    Never,
    /// The agent ends pgpool over PCP and runs a command that starts it.
    Command,
    /// The agent ends pgpool over PCP; something else starts it again.
    PcpShutdown,
    /// The agent starts and owns pgpool.
    Supervise,
}

/// From a minute of the day (UTC) up to, and without, another; over midnight where the first is the
/// later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySpan {
    pub from: u16,
    pub to: u16,
}

impl RestartPolicy {
    /// `02:00-04:00, 13:00-13:30 UTC`
    pub fn window_text(&self) -> String {
        let spans: Vec<_> = self.window.iter().map(DaySpan::to_string).collect();
        format!("{} UTC", spans.join(", "))
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl DaySpan {
    pub fn contains(&self, minute: u16) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        }
    }
}

/// What a decision on a restart depends on, beside the views: the time, and what came of the last
/// ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restarts {
    /// Of the day, UTC: 0..1440.
    pub minute: u16,
    /// So many were begun in the last 60 minutes.
    pub last_hour: u32,
    /// pgpool has been damaged for long enough not to be one that somebody is stopping.
    pub damage_lasts: bool,
    /// The last one failed, and was undone.
    pub failed: Option<Failed>,
    /// One has begun and has not ended: as a command sees it that looks meanwhile, or an agent that
    /// cannot end it.
    pub under_way: Option<UnderWay>,
}

/// A restart that failed. It is not tried again with the same servers in the same slots.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    pub with: SlotTable,
    pub why: String,
}

/// What pgpool is to come up with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    pub table: SlotTable,
    /// The slots that are attached from the first moment.
    pub attached: BTreeSet<SlotIndex>,
}

/// A restart that has begun and has not ended, as it is written down before each of its acts.
#[derive(Debug, Clone, PartialEq)]
pub struct UnderWay {
    pub stage: Stage,
    pub from: Layout,
    pub to: Layout,
    /// pgpool's status file, where it is known: it goes by slot number.
    pub status_file: Option<String>,
    /// Why it is undone; for stage [`Stage::Back`].
    pub why_back: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// pgpool may still run with the old table.
    Forth,
    /// The old table comes back.
    Back,
}

/// What it means for an operator who finds pgpool gone.
impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Forth => f.write_str(
                "a restart of pgpool is under way: geo-agent waits for pgpool to come up, or \
                 brings the old slot table back",
            )?,
            Stage::Back => {
                let why = self.why_back.as_deref().unwrap_or("it failed");
                write!(
                    f,
                    "a restart of pgpool is being undone ({why}): geo-agent starts pgpool with the \
                     old slot table"
                )?;
            }
        }
        f.write_str("; if no geo-agent runs, start it: it goes on from here")
    }
}

const HOUR: u64 = 3600;

/// All that is remembered of restarts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RestartNote {
    pub under_way: Option<UnderWay>,
    pub failed: Option<Failed>,
    /// When the latest began, in seconds since 1970.
    pub began: Vec<u64>,
}

impl RestartNote {
    /// When those of the last hour began. What lies ahead is the work of a clock that was wrong: it
    /// would count until that time comes.
    pub fn in_last_hour(&self, now: u64) -> impl Iterator<Item = u64> {
        self.began.iter().copied().filter(move |then| *then <= now && now - then < HOUR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_counts_for_an_hour_and_not_before_its_time() {
        let now = 10 * HOUR;
        let began = vec![now - HOUR, now - HOUR + 1, now, now + 1, u64::MAX];
        let note = RestartNote { began, ..RestartNote::default() };
        assert_eq!(note.in_last_hour(now).collect::<Vec<_>>(), [now - HOUR + 1, now]);
    }

    #[test]
    fn a_span_may_pass_midnight() {
        let night = DaySpan { from: 23 * 60, to: 60 };
        assert!(night.contains(0) && night.contains(23 * 60) && night.contains(59));
        assert!(!night.contains(60) && !night.contains(12 * 60));
        let day = DaySpan { from: 120, to: 240 };
        assert!(day.contains(120) && !day.contains(240) && !day.contains(0));
    }
}
