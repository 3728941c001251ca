//! How long the agent waits, and how far a replica may be behind: the operator's choice.

use std::time::Duration;

/// Waits and limits from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// How long a replica must have been good before it is attached.
    pub attach_after: Duration,
    /// How long the readers of a replica that leaves on purpose may take to end.
    pub drain_timeout: Duration,
    /// How long a slot that was detached by hand is left so.
    pub respect_manual_detach: Duration,
    /// How many bytes of WAL a replica may be behind and still get reads. `None`: any number.
    pub max_lag: Option<u64>,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            attach_after: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(30),
            respect_manual_detach: Duration::from_secs(600),
            max_lag: None,
        }
    }
}

/// "2 s", "10 min", "500 ms".
pub fn spelled(span: Duration) -> String {
    match span.as_millis() {
        ms if ms % 1000 != 0 => format!("{ms} ms"),
        ms if ms == 0 || ms % 60_000 != 0 => format!("{} s", ms / 1000),
        ms if ms % 3_600_000 != 0 => format!("{} min", ms / 60_000),
        ms => format!("{} h", ms / 3_600_000),
    }
}

/// "16 MB", in the units of PostgreSQL: 1 kB is 1024 bytes.
pub fn bytes(n: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    let whole = |(unit, _): &&(u64, &str)| n >= *unit && n.is_multiple_of(*unit);
    match UNITS.iter().find(whole) {
        Some((unit, name)) => format!("{} {name}", n / unit),
        None => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_unit_that_is_whole() {
        for (ms, text) in [
            (0, "0 s"),
            (500, "500 ms"),
            (2_000, "2 s"),
            (90_000, "90 s"),
            (600_000, "10 min"),
            (7_200_000, "2 h"),
        ] {
            assert_eq!(spelled(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn sizes_are_told_as_postgresql_does() {
        for (n, text) in [
            (0, "0 bytes"),
            (1_000, "1000 bytes"),
            (8 << 20, "8 MB"),
            (1 << 40, "1 TB"),
            (1536, "1536 bytes"),
            (1536 << 10, "1536 kB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
