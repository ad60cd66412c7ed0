//! Reading the JSON file of an earlier replay, as far as a reader needs it. Pure.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::VERSION;

/// Why a file has no figures that can be read.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// It is not the JSON of a replay.
    #[error("not the figures of a replay: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error("figures of version {0}, but this anyclaude reads version {VERSION}; replay again with it to make others")]
    Version(u64),
    /// It is the JSON of a replay on several backends.
    #[error("figures of several backends; take those of one: jq '.backends[0].report' FILE")]
    Several,
}

/// Reads what a type has of the `--json` of a replay.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, FiguresError> {
    #[derive(Deserialize)]
    struct Head {
        version: u64,
        backends: Option<IgnoredAny>,
    }
    match serde_json::from_str(text)? {
        Head { backends: Some(_), .. } => Err(FiguresError::Several),
        Head { version, .. } if version == u64::from(VERSION) => Ok(serde_json::from_str(text)?),
        Head { version, .. } => Err(FiguresError::Version(version)),
    }
}
