//! Arbitrary keys and values: nothing panics, nothing gets through that is not an address.

use proptest::prelude::*;

use super::{BASE, Keys, at, member, read, view};

/// Keys and values that look enough like the real ones to get past the first checks.
fn keys() -> impl Strategy<Value = Keys> {
    let place = prop_oneof![
        "(members/|members/a/|optime/|0/members/|)[a-z\\PC]{0,8}",
        proptest::sample::select(vec!["leader", "config", "status", "sync", "failover", "history"])
            .prop_map(str::to_owned),
    ];
    let key = place.prop_map(|p| format!("{BASE}/{p}").into_bytes());
    let json = "\\{(\"(conn_url|role|state|tags|optime|pause|member)\":(\"\\PC{0,20}\"|[0-9]{0,20}|null|\\{\\}),?){0,4}\\}?";
    let url = "(\\{\"conn_url\":\"|)postgres(ql)?://[a-z0-9.:@\\[\\],/%'?#-]{0,40}(\"\\}|)";
    let value = prop_oneof![
        json.prop_map(String::into_bytes),
        url.prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..64),
    ];
    proptest::collection::btree_map(prop_oneof![key, any::<Vec<u8>>()], value, 0..8)
}

proptest! {
    #[test]
    fn nothing_panics_and_no_address_is_invalid(keys in keys()) {
        let Ok(view) = read(BASE, &keys) else { return Ok(()) };
        for address in view.members.values().filter_map(|m| m.address.as_ref().ok()) {
            prop_assert!(address.port() > 0);
            let is_ip = address.host().parse::<std::net::IpAddr>().is_ok();
            let is_name = |h: &str| h.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            prop_assert!(is_ip || is_name(address.host()), "{:?}", address);
        }
        for note in &view.notes {
            prop_assert!(!note.chars().any(char::is_control), "{:?}", note);
        }
    }

    #[test]
    fn an_address_survives_every_wrapping(host in "[a-z][a-z0-9]{0,8}", port in 1u16.., user in "[a-z]{0,5}") {
        let login = if user.is_empty() { String::new() } else { format!("{user}:s%2Fx@") };
        let url = format!("postgres://{login}{host}:{port}/postgres");
        let view = view(&[("members/a", &format!("{{\"conn_url\":\"{url}\"}}"))]);
        prop_assert_eq!(member(&view, "a").address, at(&host, port.into()));
    }
}
