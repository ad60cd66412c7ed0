//! Why a model could not be downloaded or found.

use std::io;
use std::path::PathBuf;

use super::ModelName;

/// Why a model could not be downloaded or found. Every text says what to do next.
#[allow(missing_docs, reason = "each variant's text says what it is")]
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{endpoint} has no model {name}; check its name")]
    NoSuchModel { endpoint: String, name: ModelName },
    #[error("{endpoint} lists {file} of {name} and does not have it; pull again later, or from another mirror (HF_ENDPOINT)")]
    NoSuchFile { endpoint: String, name: ModelName, file: String },
    /// The hub answers alike for private models and for missing ones.
    #[error(
        "{endpoint} does not give {name} to everybody, or has no such model; check its name, or export HF_TOKEN=… of one who may"
    )]
    NotAllowed { endpoint: String, name: ModelName },
    #[error("{name} must be asked for: accept its terms at {endpoint}/{name} and export HF_TOKEN=…")]
    Gated { endpoint: String, name: ModelName },
    #[error("{name} has no {missing}; choose a model in safetensors or MLX format")]
    NoModel { name: ModelName, missing: &'static str },
    #[error("{endpoint} answered {status}; what has come is kept, so try again later")]
    Answered { endpoint: String, status: u16 },
    #[error("{endpoint}: {reason}; check the connection and pull again to go on, or name a mirror with HF_ENDPOINT")]
    Unreachable { endpoint: String, reason: String },
    #[error("{endpoint} does not speak the hub's API: {reason}; check HF_ENDPOINT")]
    Protocol { endpoint: String, reason: String },
    #[error("{name}: {file} came damaged and was thrown away; pull again")]
    Damaged { name: ModelName, file: String },
    #[error("{} is being written by another process; wait for it", .path.display())]
    Busy { path: PathBuf },
    #[error("cannot write {}: {source}; check the disk, or choose another folder with HF_HOME", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("there is no home folder to keep models in; export HF_HOME=…")]
    NoHome,
}
