//! Reading the JSON files of figures that anyclaude writes, each as far as its reader needs it. Pure.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a file has the figures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FiguresKind {
    /// A replay on one backend.
    Replay,
    /// A replay on several backends.
    SeveralBackends,
    /// Two replays beside each other.
    Comparison,
    /// A load.
    Load,
}

impl FiguresKind {
    /// The kind of a file, by a field that the others do not have.
    fn of(file: &Value) -> Option<Self> {
        let fields =
            [("backends", Self::SeveralBackends), ("cases", Self::Replay), ("lost", Self::Comparison), ("shards", Self::Load)];
        fields.into_iter().find(|(name, _)| file.get(name).is_some()).map(|(_, kind)| kind)
    }

    /// How to make another file.
    fn again(self) -> &'static str {
        match self {
            Self::Replay | Self::SeveralBackends | Self::Comparison => "replay again with it to make others",
            Self::Load => "measure again with it",
        }
    }
}

impl fmt::Display for FiguresKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Replay => "a replay",
            Self::SeveralBackends => "a replay on several backends",
            Self::Comparison => "a comparison of two replays",
            Self::Load => "a load",
        })
    }
}

/// Why a file has no figures that can be read.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// It is no JSON.
    #[error("not the figures of {wanted}: {source}")]
    Json {
        /// What was asked for.
        wanted: FiguresKind,
        /// Where it ends being JSON.
        source: serde_json::Error,
    },
    /// It has no figures.
    #[error("not the figures of {0}")]
    NoFigures(FiguresKind),
    /// It is the JSON of a replay on several backends, where one is asked for.
    #[error("figures of several backends; take those of one: jq '.backends[0].report' FILE")]
    Several,
    /// It is another kind of file.
    #[error("the figures of {found}, not of {wanted}")]
    Kind {
        /// What was asked for.
        wanted: FiguresKind,
        /// What it is.
        found: FiguresKind,
    },
    /// It is of another version.
    #[error("figures of version {version}, but this anyclaude reads version {reads}; {}", .wanted.again())]
    Version {
        /// What was asked for.
        wanted: FiguresKind,
        /// Its version.
        version: u64,
        /// The version that can be read.
        reads: u32,
    },
    /// A field is missing or wrong.
    #[error("not the figures of {wanted}: {field}: {reason}")]
    Field {
        /// What was asked for.
        wanted: FiguresKind,
        /// The way to the field.
        field: String,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// No load has such shards.
    #[error("not the figures of a load: no load has such `shards`")]
    Shards,
}

/// Reads what a type has of a file of this kind and version.
pub(super) fn read<T: DeserializeOwned>(text: &str, wanted: FiguresKind, reads: u32) -> Result<T, FiguresError> {
    let file: Value = serde_json::from_str(text).map_err(|source| FiguresError::Json { wanted, source })?;
    match FiguresKind::of(&file) {
        None => return Err(FiguresError::NoFigures(wanted)),
        Some(FiguresKind::SeveralBackends) if wanted == FiguresKind::Replay => return Err(FiguresError::Several),
        Some(found) if found != wanted => return Err(FiguresError::Kind { wanted, found }),
        Some(_) => {}
    }
    let version = file["version"].as_u64().ok_or(FiguresError::NoFigures(wanted))?;
    if version != u64::from(reads) {
        return Err(FiguresError::Version { wanted, version, reads });
    }
    serde_path_to_error::deserialize(file).map_err(|error| {
        let field = error.path().to_string();
        FiguresError::Field { wanted, field, reason: error.into_inner() }
    })
}
