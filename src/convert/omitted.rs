//! What a conversion left out.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// The names of fields and blocks that have no counterpart in the other protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omitted(BTreeSet<String>);

impl Omitted {
    /// Adds a name.
    pub(super) fn add(&mut self, name: impl Into<String>) {
        self.0.insert(name.into());
    }

    /// Adds the fields in `extra` under their owner's name. All cache breakpoints count as one field, wherever they are: servers
    /// that speak the chat protocol cache by themselves.
    pub(super) fn fields(&mut self, owner: &str, extra: &Map<String, Value>) {
        for (name, value) in extra {
            match name.as_str() {
                _ if value.is_null() => {}
                "cache_control" => self.add("cache_control"),
                name if owner.is_empty() => self.add(name),
                name => self.add(format!("{owner}.{name}")),
            }
        }
    }

    /// Whether anything was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Omitted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}
