//! The etcd client's errors, as sentences for an operator. gRPC hides the cause of most failures
//! behind "transport error"; the chain of sources has it.

use std::error::Error;

use super::error::EtcdError;
use super::keys::KeyRange;
use super::member::short;

/// gRPC status codes that mean one thing whatever was asked.
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Connect,
    Read,
    Watch,
    Write,
}

impl Moment {
    fn forbidden(self, range: &KeyRange) -> EtcdError {
        match self {
            Moment::Write => EtcdError::MayNotWrite(range.clone()),
            Moment::Connect | Moment::Read | Moment::Watch => EtcdError::Forbidden(range.clone()),
        }
    }

    pub fn error(self, why: String) -> EtcdError {
        match self {
            Moment::Connect => EtcdError::Unreachable(why),
            Moment::Read => EtcdError::Read(why),
            Moment::Watch => EtcdError::Watch(why),
            Moment::Write => EtcdError::Write(why),
        }
    }
}

/// What an error of the client means to somebody who has to do something about it.
pub fn explain(moment: Moment, error: &etcd_client::Error, range: &KeyRange) -> EtcdError {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let said = status.message();
            let told = by_words(moment, said, range);
            told.unwrap_or_else(|| match status.code() as i32 {
                PERMISSION_DENIED => moment.forbidden(range),
                UNAUTHENTICATED => EtcdError::Login(short(said)),
                // What etcd says has no source; what the connection says has one.
                code if code == UNAVAILABLE || status.source().is_some() => {
                    EtcdError::Unreachable(chain(said, status.source()))
                }
                _ => moment.error(short(said)),
            })
        }
        etcd_client::Error::TransportError(e) => EtcdError::Unreachable(chain("", Some(e))),
        other => moment.error(short(&other.to_string())),
    }
}

/// Why etcd took a watch back; it gives its reason as text only.
pub fn cancelled(reason: &str, range: &KeyRange) -> EtcdError {
    by_words(Moment::Watch, reason, range).unwrap_or_else(|| match reason {
        "" => EtcdError::Cancelled("it gives no reason".to_owned()),
        reason => EtcdError::Cancelled(short(reason)),
    })
}

/// etcd's sentences (`api/v3rpc/rpctypes/error.go`), the same in every version since 3.0.
fn by_words(moment: Moment, said: &str, range: &KeyRange) -> Option<EtcdError> {
    let has = |words: &str| said.contains(words);
    if has("permission denied") {
        return Some(moment.forbidden(range));
    }
    if has("user name is empty") {
        return Some(EtcdError::Login("it wants a user and a password".to_owned()));
    }
    if ["authentication failed", "authentication is not enabled", "invalid auth token"]
        .into_iter()
        .any(has)
    {
        return Some(EtcdError::Login(short(said.trim_start_matches("etcdserver: "))));
    }
    has("no leader").then_some(EtcdError::NoLeader)
}

/// A message and the messages of its sources, each once.
fn chain(said: &str, source: Option<&(dyn Error + 'static)>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |part: String| {
        if !part.is_empty() && part != "transport error" && !parts.iter().any(|p| p.contains(&part))
        {
            parts.push(part);
        }
    };
    add(short(said));
    let mut next = source;
    while let Some(error) = next {
        add(short(&error.to_string()));
        next = error.source();
    }
    match parts.is_empty() {
        true => "the connection broke".to_owned(),
        false => parts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_sentences_say_what_to_do() {
        let range = KeyRange::below("/service/main");
        let forbidden = cancelled(
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
            &range,
        );
        assert!(forbidden.to_string().ends_with("read /service/main/ /service/main0"));
        assert_eq!(cancelled("etcdserver: no leader", &range), EtcdError::NoLeader);
        let token = cancelled("rpc error: etcdserver: invalid auth token", &range);
        assert!(matches!(token, EtcdError::Login(_)), "{token}");
        assert!(matches!(cancelled("", &range), EtcdError::Cancelled(_)));
        let hostile = cancelled("a\nb\u{1b}[2J", &range).to_string();
        assert!(!hostile.contains(['\n', '\u{1b}']), "{hostile}");
    }
}
