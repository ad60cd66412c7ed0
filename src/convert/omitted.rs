//! What a conversion left out.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// Fields of requests on which no answer depends: clients keep account with them, or choose among Anthropic's and OpenAI's
/// servers.
const NO_MATTER: [&str; 9] = [
    "metadata",
    "user",
    "safety_identifier",
    "client_metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "inference_geo",
];

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
        self.unread(owner, extra, &[]);
    }

    /// Adds those fields that are not among the ones that are `read`, as [`Self::fields`] does.
    pub(super) fn unread(&mut self, owner: &str, fields: &Map<String, Value>, read: &[&str]) {
        for (name, value) in fields.iter().filter(|(name, _)| !read.contains(&name.as_str())) {
            match name.as_str() {
                _ if value.is_null() => {}
                "cache_control" => self.add("cache_control"),
                name if owner.is_empty() && NO_MATTER.contains(&name) => {}
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
