//! JSON as Patroni writes and reads it: numbers and booleans may come as strings, and what cannot
//! be understood is as if it were not there.

use serde_json::{Map, Value};

/// The object in `text`; `None` for anything else, deeper than 128 levels included.
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// A count of bytes or a number of a timeline, never negative; digits in a string count as well.
pub fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => n.as_u64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// Patroni's `parse_bool`: on, true, yes, 1 and their opposites in any case, as string or not.
pub fn truth(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(b) => return Some(*b),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.trim().to_ascii_lowercase(),
        _ => return None,
    };
    match text.as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whether Python would take it for true: not null, false, zero or empty.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// The string, unless it is empty.
pub fn text(value: Option<&Value>) -> Option<&str> {
    value?.as_str().filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_booleans_may_be_strings() {
        assert_eq!(whole(&json!(7)), Some(7));
        assert_eq!(whole(&json!("7")), Some(7));
        assert_eq!(whole(&json!(-7)), None);
        assert_eq!(whole(&json!(1.5)), None);
        for yes in [json!(true), json!("on"), json!("True"), json!(1), json!("1")] {
            assert_eq!(truth(&yes), Some(true), "{yes}");
        }
        for no in [json!(false), json!("off"), json!("No"), json!(0)] {
            assert_eq!(truth(&no), Some(false), "{no}");
        }
        assert_eq!(truth(&json!("maybe")), None);
    }
}
