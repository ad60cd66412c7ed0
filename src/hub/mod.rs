//! Getting models from Hugging Face's hub, or a server that speaks its API, into the cache that all its tools share.
//!
//! `client` knows the API, `cache` the folder's layout, `pull` brings files from one into the other. What is a whole model, and
//! what people see of it, is `cli`'s. (The hf-hub crate does not resume a broken download and brings sixty crates for a
//! transfer protocol of its own.)

mod cache;
mod client;
mod pull;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

pub use cache::{HubCache, name_of};
pub use client::{HubClient, Listing, RemoteFile};
pub use pull::{Progress, pull};

/// A model's name at the hub: `organisation/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName {
    organisation: String,
    name: String,
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // A leading dot is a path's; two dashes stand for the slash in the cache's folder names.
        let is_part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("--") && part.chars().all(allowed);
        match text.split_once('/') {
            Some((organisation, name)) if is_part(organisation) && is_part(name) => {
                Ok(Self { organisation: organisation.into(), name: name.into() })
            }
            _ => Err("expected a name such as mlx-community/Qwen3-4B-4bit".into()),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)
    }
}

/// Why a model could not be had. Every text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{endpoint} has no model {name}; check its name")]
    NoSuchModel { endpoint: String, name: ModelName },
    /// The hub says the same of models that are private and of those that are not there.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        for (text, is_name) in [
            ("mlx-community/Qwen3-4B-4bit", true),
            ("Qwen/Qwen2.5-0.5B", true),
            ("./model", false),
            ("../model", false),
            ("model", false),
            ("a/b/c", false),
            ("/abs", false),
            ("~/model", false),
            ("a/..", false),
            ("a/b--c", false),
        ] {
            assert_eq!(text.parse::<ModelName>().is_ok(), is_name, "{text}");
        }
    }
}
