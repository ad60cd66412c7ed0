//! What callers can do about a backend's prefix cache.

use serde::{Deserialize, Serialize};

/// What callers can do about a backend's prefix cache, as `GET /health` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheAccess {
    /// They can control it. Servers that say nothing of it let themselves be controlled.
    #[default]
    Controlled,
    /// Nothing: whether there is one, only the backend knows.
    Hidden,
    /// Nothing: there is none, as the answers are recordings.
    NoCache,
}
