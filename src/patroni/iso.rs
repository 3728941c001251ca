//! A time as Python's `isoformat` writes it, `2026-07-01T03:00:00.5+02:00`, to seconds since 1970.

/// `None` for anything else, a time without its zone included: it could be any.
pub fn seconds_since_1970(text: &str) -> Option<u64> {
    let (date, time) = text.trim().split_once(['T', ' '])?;
    let sign_at = time.find(['+', '-', 'Z'])?;
    let (clock, zone) = time.split_at(sign_at);
    let [year, month, day] = numbers(date, '-')?;
    let whole = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let [hour, minute, second] = numbers(whole, ':')?;
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let local = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    valid.then_some(local - offset(zone)?).and_then(|utc| u64::try_from(utc).ok())
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next()? {
        'Z' if zone.len() == 1 => return Some(0),
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits: String = zone[1..].split(':').collect();
    if !matches!(digits.len(), 4 | 6) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).and_then(|d| d.parse::<u32>().ok());
    let seconds = if digits.len() == 6 { part(4)? } else { 0 };
    Some(sign * i64::from(part(0)? * 3600 + part(2)? * 60 + seconds))
}

/// Three numbers without signs.
fn numbers(text: &str, by: char) -> Option<[i64; 3]> {
    let mut parts = text.split(by).map(|p| p.parse::<u32>().ok().map(i64::from));
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// By the Gregorian calendar; years begin in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_a_zone_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00+00:00", 0),
            ("2024-07-01T03:00:00+00:00", 1_719_802_800),
            ("2024-07-01T05:00:00.250000+02:00", 1_719_802_800),
            ("2024-06-30 22:00:00-0500", 1_719_802_800),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(seconds_since_1970(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for bad in [
            "",
            "now",
            "2024-07-01",
            "2024-07-01T03:00:00",
            "2024-07-01T03:00+00:00",
            "2024-13-01T03:00:00Z",
            "2024-07-01T03:00:00+2",
            "2024-07-01T03:00:00+é1",
            "2024-07-01T03:00:00Zulu",
            "99999999999-07-01T03:00:00Z",
            "1969-12-31T00:00:00Z",
            "2024--7-01T03:00:00Z",
        ] {
            assert_eq!(seconds_since_1970(bad), None, "{bad}");
        }
    }
}
