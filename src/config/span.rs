//! Time spans as operators write them: `10`, `0.5`, `10s`, `500ms`, `2m`, `1h`.

use std::time::Duration;

/// `None` when the text is not a time span.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim_start() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    // To the millisecond: binary fractions would print as 499.999999ms.
    Duration::try_from_secs_f64((number * seconds * 1000.0).round() / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_units_are_read() {
        let ms = Duration::from_millis;
        for (text, span) in [
            ("10", ms(10_000)),
            ("0.5", ms(500)),
            ("10s", ms(10_000)),
            ("500ms", ms(500)),
            ("2m", ms(120_000)),
            ("1 h", ms(3_600_000)),
            ("1.5s", ms(1_500)),
        ] {
            assert_eq!(parse(text), Some(span), "{text}");
        }
        for bad in ["", "s", "-1", "1d", "ten", "1..5", ".", "1s2", "1e3", "NaN", "inf"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&"9".repeat(400)), None);
    }
}
