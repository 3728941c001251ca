//! The agent's memory of the cluster, as it stands in the state file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ids::{Address, MemberName};
use crate::model::past::{Known, Missed, Past};

/// A [`Past`] and which keys it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Namespace and scope: after a change of these in the configuration it means nothing.
    base: String,
    system_id: Option<String>,
    timeline: Option<u32>,
    /// Those that vanished together with most others.
    #[serde(default)]
    vanished: Vec<Vanished>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Vanished {
    name: String,
    host: String,
    port: u16,
}

impl Remembered {
    pub fn new(base: &str, past: &Past) -> Self {
        let vanished = past.vanished().filter_map(|(name, known)| {
            let address = known.address.as_ref()?;
            let (name, host) = (name.as_raw().to_owned(), address.host().to_owned());
            Some(Vanished { name, host, port: address.port() })
        });
        Remembered {
            base: base.to_owned(),
            system_id: past.system_id.clone(),
            timeline: past.timeline,
            vanished: vanished.collect(),
        }
    }

    /// Which cluster it was. Who vanished is left out: that is of use while an agent watches, and
    /// not after a night in which members were replaced.
    pub fn identity(&self, base: &str) -> Past {
        match self.base == base {
            true => Past {
                system_id: self.system_id.clone(),
                timeline: self.timeline,
                ..Past::default()
            },
            false => Past::default(),
        }
    }

    /// All that decisions depend on, as the running agent has it.
    pub fn whole(&self, base: &str) -> Past {
        let missed = Some(Missed { since: Duration::ZERO, with_most: true });
        let vanished = self.vanished.iter().filter(|_| self.base == base).map(|v| {
            let address = Address::new(&v.host, u32::from(v.port)).ok();
            (MemberName::new(v.name.as_str()), Known { address, missed })
        });
        Past { members: vanished.collect(), ..self.identity(base) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_comes_back_for_the_keys_that_it_is_about() {
        let known = |with_most| Known {
            address: Address::new("b.db", 5433).ok(),
            missed: Some(Missed { since: Duration::from_secs(9), with_most }),
        };
        let mut past =
            Past { system_id: Some("7".to_owned()), timeline: Some(3), ..Past::default() };
        past.members.insert(MemberName::new("b"), known(true));
        past.members.insert(MemberName::new("c"), known(false));
        let saved = Remembered::new("/service/main", &past);
        let text = serde_json::to_string(&saved).unwrap();
        let read: Remembered = serde_json::from_str(&text).unwrap();

        let whole = read.whole("/service/main");
        let names: Vec<_> = whole.vanished().map(|(name, _)| name.as_raw()).collect();
        assert_eq!((whole.system_id.as_deref(), whole.timeline), (Some("7"), Some(3)));
        assert_eq!(names, ["b"]);
        assert!(whole.vanished_from(&Address::new("b.db", 5433).unwrap()).is_some());
        assert_eq!(read.identity("/service/main").members.len(), 0);
        assert_eq!(read.whole("/service/other"), Past::default());
    }
}
