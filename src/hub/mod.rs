//! Downloading models from Hugging Face's hub, or a server with the same API, into the cache that its tools share.
//!
//! `client` knows the API, `cache` the layout of the folder, and `pull` moves files from one to the other. (The hf-hub crate
//! cannot resume a broken download and brings sixty crates for its own transfer protocol.)

mod cache;
mod client;
mod content_hash;
mod error;
mod pull;

use std::fmt;
use std::str::FromStr;

pub use cache::{HubCache, name_of};
pub use client::{HubClient, Listing, RemoteFile};
pub use error::HubError;
pub use pull::{FoundModel, PullProgress};

/// A model's name on the hub: `organisation/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName {
    organisation: String,
    name: String,
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // A leading dot means a path, and two dashes mean the slash in the cache's folder names.
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
