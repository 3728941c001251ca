//! What operators ordered, below `geo-agent/`.

use geo_agent::model::ids::{Address, MemberName};
use geo_agent::model::orders::{Held, Orders};
use geo_agent::patroni::changes::differs_in_more_than_wal;
use geo_agent::patroni::orders::{hold_key, hold_value, location_key, location_value};

use super::{BASE, member, view};

const A: (&str, &str) = (
    "members/a",
    r#"{"conn_url":"postgres://10.0.0.1:5432/p","state":"running","role":"replica"}"#,
);

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn what_is_written_is_read() {
    let held = Held {
        by: text("ops@desk"),
        since: text("2026-11-21T05:00:00Z"),
        until: text("2026-11-21T07:00:00Z"),
        reason: text("kernel \"6.12\""),
    };
    let a = MemberName::new("a");
    let hold = (hold_key(BASE, &a), hold_value(&held));
    let location = (location_key(BASE, &a), location_value("us", "ops@desk", "now"));
    let below = |key: &str| key.strip_prefix("/service/main/").unwrap().to_owned();
    let view = view(&[A, (&below(&hold.0), &hold.1), (&below(&location.0), &location.1)]);
    let orders = Orders { held: Some(held), location: text("us") };
    assert_eq!(member(&view, "a").orders, orders);
    assert_eq!(view.notes, Vec::<String>::new());
    assert_eq!(view.orders_of(&a), Some(&orders));
}

#[test]
fn a_hold_is_a_hold_whatever_is_in_it() {
    for value in ["", "kernel update", "[]", r#"{"by": 7, "until": null}"#] {
        let view = view(&[A, ("geo-agent/holds/a", value)]);
        assert_eq!(member(&view, "a").orders.held, Some(Held::default()), "{value:?}");
    }
}

#[test]
fn a_location_that_says_nothing_is_noted_and_ignored() {
    let long = format!(r#"{{"location": "{}"}}"#, "x".repeat(2000));
    for value in ["", "us", "{}", r#"{"location": ""}"#, &long] {
        let view = view(&[A, ("geo-agent/locations/a", value)]);
        assert_eq!(member(&view, "a").orders, Orders::default());
        assert_eq!(view.notes, ["the location ordered for a is unusable"]);
    }
}

#[test]
fn orders_for_nobody_and_foreign_keys_change_no_member() {
    let view = view(&[
        A,
        ("geo-agent/holds/b", "{}"),
        ("geo-agent/holds/", "{}"),
        ("geo-agent/holds/a/b", "{}"),
        ("geo-agent/other/b", "{}"),
    ]);
    assert_eq!(view.members.len(), 1);
    assert_eq!(member(&view, "a").orders, Orders::default());
    assert!(view.other_orders.contains_key(&MemberName::new("b")));
    assert_eq!(view.notes, ["b is held by an order, and is no member now"]);
}

#[test]
fn hostile_texts_stay_short_and_on_one_line() {
    let hostile = format!(r#"{{"by": "x\\n\\u001b[2J", "reason": "{}"}}"#, "r".repeat(5000));
    let view = view(&[A, ("geo-agent/holds/a", &hostile.replace("\\\\", "\\"))]);
    let said = member(&view, "a").orders.held.unwrap().to_string();
    assert!(!said.contains(['\n', '\u{1b}']) && said.len() < 300, "{said}");
}

/// An order is news: it wakes the loop at once.
#[test]
fn a_new_order_is_a_difference() {
    let without = view(&[A]);
    assert!(differs_in_more_than_wal(&without, &view(&[A, ("geo-agent/holds/a", "{}")])));
    assert!(differs_in_more_than_wal(&without, &view(&[A, ("geo-agent/holds/b", "{}")])));
    assert_eq!(member(&without, "a").address, Ok(Address::new("10.0.0.1", 5432).unwrap()));
}
