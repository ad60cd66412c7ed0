//! The layout of the hub's cache, which `huggingface_hub`, mlx-lm and others share:
//!
//! ```text
//! models--<organisation>--<name>/blobs/<hash>               a file's content; `<hash>.incomplete` during the download
//!                               /snapshots/<commit>/<file>  a link to its blob
//!                               /refs/main                  the commit that was pulled last
//! ```

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{HubError, ModelName};
use crate::files::{Access, write_atomically};

/// How the names of model folders begin.
const PREFIX: &str = "models--";

/// The cache's folder.
#[derive(Clone, Debug)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The cache that the environment names: `HF_HUB_CACHE`, or else `hub` in `HF_HOME`, which defaults to
    /// `~/.cache/huggingface`.
    ///
    /// # Errors
    /// There is no home folder.
    pub fn from_env() -> Result<Self, HubError> {
        let root = match set("HF_HUB_CACHE") {
            Some(root) => root.into(),
            None => home().ok_or(HubError::NoHome)?.join("hub"),
        };
        Ok(Self { root })
    }

    /// The folder with a pulled model's files; `None` if it was not pulled.
    pub fn snapshot(&self, name: &ModelName) -> Option<PathBuf> {
        let folder = self.folder(name);
        let commit = fs::read_to_string(folder.join("refs/main")).ok()?;
        Some(folder.join("snapshots").join(commit.trim())).filter(|snapshot| snapshot.is_dir())
    }

    /// All models in the cache with their folders, sorted by name. Other tools may have pulled them.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn models(&self) -> Result<Vec<(ModelName, PathBuf)>, HubError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&self.root, error))?,
        };
        let names = entries.filter_map(|entry| parse_folder(&entry.ok()?.file_name().into_string().ok()?));
        let mut models: Vec<_> = names.filter_map(|name| self.snapshot(&name).map(|snapshot| (name, snapshot))).collect();
        models.sort();
        Ok(models)
    }

    /// The path of a blob. Its folder is created.
    pub(super) fn blob(&self, name: &ModelName, hash: &str) -> Result<PathBuf, HubError> {
        let blobs = self.folder(name).join("blobs");
        fs::create_dir_all(&blobs).map_err(|error| failed(&blobs, error))?;
        Ok(blobs.join(hash))
    }

    /// Links a file of a commit to its blob.
    pub(super) fn link(&self, name: &ModelName, commit: &str, file: &str, hash: &str) -> Result<(), HubError> {
        let snapshot = self.folder(name).join("snapshots").join(commit);
        let link = snapshot.join(file);
        fs::create_dir_all(&snapshot).map_err(|error| failed(&snapshot, error))?;
        match symlink(Path::new("../../blobs").join(hash), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(&link, error)),
            _ => Ok(()),
        }
    }

    /// Makes a commit the model's current one, and returns the folder with its files.
    pub(super) fn point(&self, name: &ModelName, commit: &str) -> Result<PathBuf, HubError> {
        let folder = self.folder(name);
        let main = folder.join("refs/main");
        fs::create_dir_all(folder.join("refs"))
            .and_then(|()| write_atomically(&main, commit.as_bytes(), Access::Everyone))
            .map_err(|error| failed(&main, error))?;
        Ok(folder.join("snapshots").join(commit))
    }

    fn folder(&self, name: &ModelName) -> PathBuf {
        self.root.join(format!("{PREFIX}{}--{}", name.organisation, name.name))
    }
}

/// The user's token for the hub: `HF_TOKEN`, or else the file that a login leaves in `HF_HOME`.
pub(super) fn token() -> Option<String> {
    let file = || set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")));
    let token = set("HF_TOKEN").and_then(|token| token.into_string().ok()).or_else(|| fs::read_to_string(file()?).ok())?;
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The name of the model whose snapshot is in this folder; `None` for a folder outside the cache.
pub fn name_of(folder: &Path) -> Option<ModelName> {
    let snapshots = folder.parent()?;
    let model = snapshots.parent()?.file_name()?.to_str()?;
    (snapshots.file_name()? == "snapshots").then(|| parse_folder(model))?
}

fn parse_folder(folder: &str) -> Option<ModelName> {
    folder.strip_prefix(PREFIX)?.replace("--", "/").parse().ok()
}

/// The folder that the hub's tools share.
fn home() -> Option<PathBuf> {
    let cache = || set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    set("HF_HOME").map(PathBuf::from).or_else(|| Some(cache()?.join("huggingface")))
}

/// An environment variable, unless it is empty.
fn set(variable: &str) -> Option<OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}

/// The error for a path that cannot be written.
pub(super) fn failed(path: &Path, source: io::Error) -> HubError {
    HubError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_by_name_once_its_commit_is_current() {
        let root = tempfile::tempdir().unwrap();
        let cache = HubCache { root: root.path().into() };
        let name: ModelName = "org/m".parse().unwrap();
        assert_eq!((cache.snapshot(&name), cache.models().unwrap()), (None, vec![]));
        fs::write(cache.blob(&name, "abc").unwrap(), "{}").unwrap();
        cache.link(&name, "c0ffee", "config.json", "abc").unwrap();
        cache.link(&name, "c0ffee", "config.json", "abc").unwrap();
        assert_eq!(cache.snapshot(&name), None);
        let snapshot = cache.point(&name, "c0ffee").unwrap();
        assert_eq!(snapshot, root.path().join("models--org--m/snapshots/c0ffee"));
        assert_eq!(fs::read_to_string(snapshot.join("config.json")).unwrap(), "{}");
        assert_eq!(cache.models().unwrap(), [(name.clone(), snapshot.clone())]);
        assert_eq!((name_of(&snapshot), name_of(Path::new("fixtures/models/tiny"))), (Some(name), None));
    }
}
