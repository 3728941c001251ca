//! Sizes as operators write them in postgresql.conf: `16MB`, `1GB`, `512kB`; 1 kB is 1024 bytes.

/// `None` when the text is not a size.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "kB" | "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_units_are_read() {
        for (text, size) in [
            ("0", 0),
            ("1000", 1_000),
            ("16MB", 16 << 20),
            ("16 MB", 16 << 20),
            ("512kB", 512 << 10),
            ("2GB", 2 << 30),
            ("1TB", 1 << 40),
        ] {
            assert_eq!(parse(text), Some(size), "{text}");
        }
        for bad in ["", "MB", "-1", "1.5GB", "16mb", "16Mb", "16 M B", "99999999999TB"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
