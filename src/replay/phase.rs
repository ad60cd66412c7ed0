//! The states of the prefix cache in which requests are measured.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of the prefix cache when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing of the prompt is cached.
    Cold,
    /// The tools and the system prompt are cached, the conversation is not.
    Warm,
    /// The prompt up to its last turn is cached.
    Cached,
}

impl Phase {
    /// All phases, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Cold, Self::Warm, Self::Cached];

    /// The phase's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Cached => "cached",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}
