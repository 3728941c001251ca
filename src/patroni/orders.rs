//! The operators' orders as keys: `geo-agent/holds/<member>` and `geo-agent/locations/<member>`
//! below the scope, each a small JSON object. Patroni passes over them (proto-notes/orders.md).

use std::collections::BTreeMap;

use serde_json::json;

use super::json;
use super::keys::FOLDER;
use super::member::{TAG_MAX, TEXT_MAX, short};
use crate::model::ids::MemberName;
use crate::model::orders::{Held, Orders};

/// More characters of a text than that would be cut off when it is shown.
pub const VALUE_TEXT_MAX: usize = TEXT_MAX;

pub fn hold_key(base: &str, member: &MemberName) -> String {
    format!("{base}/{FOLDER}/holds/{}", member.as_raw())
}

pub fn location_key(base: &str, member: &MemberName) -> String {
    format!("{base}/{FOLDER}/locations/{}", member.as_raw())
}

pub fn hold_value(held: &Held) -> String {
    let Held { by, since, until, reason } = held;
    json!({"by": by, "since": since, "until": until, "reason": reason}).to_string()
}

pub fn location_value(location: &str, by: &str, since: &str) -> String {
    json!({"location": location, "by": by, "since": since}).to_string()
}

/// Takes one key of the folder in; `path` is what comes after `geo-agent/`. That a hold is there is
/// what counts, whatever is in it: somebody may have put it there by hand.
pub fn take(
    path: &str,
    value: &[u8],
    orders: &mut BTreeMap<MemberName, Orders>,
    notes: &mut Vec<String>,
) {
    let fields = json::object(value);
    let field = |name| fields.as_ref().and_then(|f| json::text(f.get(name)));
    match path.split_once('/') {
        Some(("holds", name)) if is_members(name) => {
            let text = |name| field(name).map(short);
            let held = Held {
                by: text("by"),
                since: text("since"),
                until: text("until"),
                reason: text("reason"),
            };
            orders.entry(MemberName::new(name)).or_default().held = Some(held);
        }
        Some(("locations", name)) if is_members(name) => {
            match field("location").filter(|l| l.len() <= TAG_MAX) {
                Some(there) => {
                    let location = Some(there.to_owned());
                    orders.entry(MemberName::new(name)).or_default().location = location;
                }
                None => notes.push(format!("the location ordered for {} is unusable", short(name))),
            }
        }
        _ => {}
    }
}

/// As Patroni's own member keys: one level.
fn is_members(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}
