//! The `failover` key: a switchover or failover that somebody asked for.

use serde_json::Value;

use super::json;
use super::member::short;
use crate::model::cluster::Switchover;
use crate::model::ids::MemberName;

/// JSON with `leader`, `member` and `scheduled_at`, or the older `leader:member`. `None` when it
/// names nobody, which is how Patroni spells "no request".
pub fn decode(text: &str) -> Option<Switchover> {
    let (from, to, scheduled_at) = match serde_json::from_str(text) {
        Ok(Value::Object(request)) => {
            let field = |name| json::text(request.get(name)).map(str::to_owned);
            (field("leader"), field("member"), field("scheduled_at"))
        }
        Ok(_) => return None,
        Err(_) => {
            let mut names = text.split(':').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty());
            match text.trim_start().starts_with(':') {
                true => (None, names.next(), None),
                false => (names.next(), names.next(), None),
            }
        }
    };
    (from.is_some() || to.is_some()).then(|| Switchover {
        from: from.map(MemberName::new),
        to: to.map(MemberName::new),
        scheduled_at: scheduled_at.map(|at| short(&at)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let names = |text: &str| {
            decode(text).map(|s| {
                let raw = |n: Option<MemberName>| n.map(|n| n.as_raw().to_owned());
                (raw(s.from), raw(s.to), s.scheduled_at)
            })
        };
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(names(r#"{"leader":"a","member":"b"}"#), Some((some("a"), some("b"), None)));
        assert_eq!(names(r#"{"member":"b"}"#), Some((None, some("b"), None)));
        assert_eq!(
            names(r#"{"leader":"a","scheduled_at":"2030-01-01T00:00:00+00:00"}"#),
            Some((some("a"), None, some("2030-01-01T00:00:00+00:00")))
        );
        assert_eq!(names("a:b"), Some((some("a"), some("b"), None)));
        assert_eq!(names("a"), Some((some("a"), None, None)));
        assert_eq!(names(":b"), Some((None, some("b"), None)));
        for nobody in ["", "{}", "null", "[]", "7", ":", r#"{"leader":"","member":null}"#] {
            assert_eq!(names(nobody), None, "{nobody}");
        }
    }
}
