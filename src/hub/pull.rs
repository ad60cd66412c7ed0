//! Downloading a model's files into the cache.
//!
//! However a pull ends, the next one continues from there. A file grows as `<hash>.incomplete` and becomes a blob once it is
//! whole and its hash is right. The model is found under its name once all its files are there.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::cache::failed;
use super::content_hash::ContentHash;
use super::{HubCache, HubClient, HubError, Listing, ModelName, RemoteFile};
use crate::files::publish;

/// How the names of weight files end.
const WEIGHTS: &str = ".safetensors";

/// How many files are downloaded at a time.
const AT_A_TIME: usize = 4;

/// How many attempts in a row may bring no byte of a file.
const ATTEMPTS: u32 = 5;

/// The pause after the first failed attempt. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What a pull reports while it runs, in bytes.
#[derive(Clone, Copy, Debug)]
pub enum PullProgress {
    /// The size of all files. Some of it may be there from an earlier pull.
    Total(u64),
    /// This much more is there.
    Got(u64),
    /// This much must be downloaded again.
    Lost(u64),
}

/// A model that the hub has, before it is pulled.
#[derive(Debug)]
pub struct FoundModel<'a> {
    hub: &'a HubClient,
    cache: &'a HubCache,
    name: &'a ModelName,
    commit: String,
    /// Those that the model is loaded from.
    files: Vec<RemoteFile>,
}

impl<'a> FoundModel<'a> {
    /// Asks the hub for a model's files.
    ///
    /// # Errors
    /// The hub cannot be reached, refuses, or has no model of this name in a format that can be loaded.
    pub async fn find(hub: &'a HubClient, cache: &'a HubCache, name: &'a ModelName) -> Result<Self, HubError> {
        let Listing { commit, files } = hub.list(name).await?;
        Ok(Self { hub, cache, name, commit, files: needed(name, files)? })
    }

    /// Size of the weight files, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.files.iter().filter(|file| file.path.ends_with(WEIGHTS)).map(|file| file.size).sum()
    }

    /// Downloads one of the small files, and returns where its content is.
    ///
    /// # Errors
    /// Any [`HubError`], also that the model has no such file.
    pub async fn file(&self, path: &'static str) -> Result<PathBuf, HubError> {
        let file = self.files.iter().find(|file| file.path == path);
        let file = file.ok_or_else(|| HubError::NoModel { name: self.name.clone(), missing: path })?;
        self.download(file, &|_| {}).await
    }

    /// Downloads the files that the model needs into the cache, and returns its folder.
    ///
    /// # Errors
    /// Any [`HubError`]. What was downloaded stays.
    pub async fn pull(self, report: &(dyn Fn(PullProgress) + Sync)) -> Result<PathBuf, HubError> {
        // Files with the same content share a blob.
        let mut hashes = HashSet::new();
        let blobs: Vec<&RemoteFile> = self.files.iter().filter(|file| hashes.insert(file.hash())).collect();
        report(PullProgress::Total(blobs.iter().map(|file| file.size).sum()));
        let pulled = stream::iter(blobs).map(|file| self.download(file, report));
        pulled.buffer_unordered(AT_A_TIME).try_for_each(|_| ready(Ok(()))).await?;
        let (cache, name, commit, files) = (self.cache.clone(), self.name.clone(), self.commit, self.files);
        blocking(move || {
            for file in &files {
                cache.link(&name, &commit, &file.path, file.hash())?;
            }
            cache.point(&name, &commit)
        })
        .await
    }

    /// Downloads a file, or what is missing of it, to its blob in the cache.
    async fn download(&self, file: &RemoteFile, report: &(dyn Fn(PullProgress) + Sync)) -> Result<PathBuf, HubError> {
        let blob = self.cache.blob(self.name, file.hash())?;
        Download { hub: self.hub, name: self.name, commit: &self.commit, file, report }.finish(&blob).await?;
        Ok(blob)
    }
}

/// Runs work on the disk on a thread where it holds up no other download.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, HubError> + Send + 'static) -> Result<T, HubError> {
    // Fails only if the work panicked, or was cancelled, which nothing does.
    spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The files that a model is loaded from. Weights in other formats are left out, and so are subfolders.
fn needed(name: &ModelName, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>, HubError> {
    let has = |wanted: &str| files.iter().any(|file| file.path == wanted);
    for missing in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        if !has(missing) {
            return Err(HubError::NoModel { name: name.clone(), missing });
        }
    }
    // Mistral's repositories contain all weights twice.
    let twice = has("model.safetensors.index.json") || has("model.safetensors");
    let is_needed = |file: &RemoteFile| {
        let wanted = [".json", WEIGHTS, ".jinja"].iter().any(|end| file.path.ends_with(end));
        wanted && !file.path.contains('/') && !(twice && file.path.starts_with("consolidated"))
    };
    let needed: Vec<RemoteFile> = files.into_iter().filter(is_needed).collect();
    match needed.iter().any(|file| file.path.ends_with(WEIGHTS)) {
        true => Ok(needed),
        false => Err(HubError::NoModel { name: name.clone(), missing: "*.safetensors" }),
    }
}

/// The download of one file.
struct Download<'a> {
    hub: &'a HubClient,
    name: &'a ModelName,
    commit: &'a str,
    file: &'a RemoteFile,
    report: &'a (dyn Fn(PullProgress) + Sync),
}

impl Download<'_> {
    /// Returns once the blob is there.
    async fn finish(&self, blob: &Path) -> Result<(), HubError> {
        if fs::try_exists(blob).await.unwrap_or(false) {
            (self.report)(PullProgress::Got(self.file.size));
            return Ok(());
        }
        let path = blob.with_file_name(format!("{}.incomplete", self.file.hash()));
        let mut incomplete = IncompleteBlob::open(&path, self.file).await?;
        (self.report)(PullProgress::Got(incomplete.length));
        let mut attempts = 0;
        while incomplete.length < self.file.size {
            let before = incomplete.length;
            let Err(error) = self.download(&mut incomplete).await else { break };
            // An attempt that made progress starts the count anew.
            attempts = if incomplete.length > before { 1 } else { attempts + 1 };
            if attempts == ATTEMPTS || !is_temporary(&error) {
                return Err(error);
            }
            tracing::info!(file = self.file.path, at = incomplete.length, %error, "broken off: trying again");
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempts - 1)).await;
        }
        if !incomplete.is_whole().await? {
            fs::remove_file(&path).await.map_err(|error| failed(&path, error))?;
            return Err(HubError::Damaged { name: self.name.clone(), file: self.file.path.clone() });
        }
        let blob = blob.to_owned();
        blocking(move || publish(&path, &blob).map_err(|error| failed(&blob, error))).await
    }

    /// Requests the missing bytes and appends them, until the response ends or breaks off.
    async fn download(&self, incomplete: &mut IncompleteBlob<'_>) -> Result<(), HubError> {
        let mut response = self.hub.get(self.name, self.commit, &self.file.path, incomplete.length).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT && incomplete.length > 0 {
            (self.report)(PullProgress::Lost(incomplete.length));
            incomplete.empty().await?;
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.hub.unreachable(&error))? {
            incomplete.append(&chunk).await?;
            (self.report)(PullProgress::Got(chunk.len() as u64));
            // It is not the file that was listed, which its hash will tell. There may be no end to it.
            if incomplete.length > self.file.size {
                break;
            }
        }
        Ok(())
    }
}

/// Whether another attempt may succeed.
fn is_temporary(error: &HubError) -> bool {
    match error {
        HubError::Unreachable { .. } => true,
        HubError::Answered { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

/// A file that is being downloaded.
struct IncompleteBlob<'a> {
    /// What it will be.
    listed: &'a RemoteFile,
    path: PathBuf,
    file: File,
    /// Bytes so far.
    length: u64,
    /// Of the bytes so far.
    hash: ContentHash,
}

impl<'a> IncompleteBlob<'a> {
    /// Opens and locks the file, which an earlier pull may have started.
    async fn open(path: &Path, listed: &'a RemoteFile) -> Result<Self, HubError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).await;
        let file = file.map_err(|error| failed(path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(HubError::Busy { path: path.to_owned() }),
            locked => locked.map_err(|errno| failed(path, errno.into()))?,
        }
        let mut incomplete = Self { listed, path: path.to_owned(), file, length: 0, hash: listed.content_hash() };
        let mut buffer = vec![0; 1 << 20];
        loop {
            match incomplete.file.read(&mut buffer).await.map_err(|error| failed(path, error))? {
                0 => return Ok(incomplete),
                read => {
                    incomplete.hash.update(&buffer[..read]);
                    incomplete.length += read as u64;
                }
            }
        }
    }

    /// Appends downloaded bytes.
    async fn append(&mut self, chunk: &[u8]) -> Result<(), HubError> {
        self.file.write_all(chunk).await.map_err(|error| failed(&self.path, error))?;
        self.hash.update(chunk);
        self.length += chunk.len() as u64;
        Ok(())
    }

    /// Starts over.
    async fn empty(&mut self) -> Result<(), HubError> {
        let emptied: io::Result<()> = async {
            self.file.set_len(0).await?;
            self.file.rewind().await.map(drop)
        }
        .await;
        emptied.map_err(|error| failed(&self.path, error))?;
        (self.length, self.hash) = (0, self.listed.content_hash());
        Ok(())
    }

    /// Syncs the file, and checks that it is the one that was listed.
    async fn is_whole(&mut self) -> Result<bool, HubError> {
        self.file.sync_all().await.map_err(|error| failed(&self.path, error))?;
        Ok(self.length == self.listed.size && self.hash.is(self.listed.hash()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_files_that_a_model_is_loaded_from_are_needed() {
        let name: ModelName = "org/m".parse().unwrap();
        let files = |paths: &[&str]| -> Vec<RemoteFile> {
            let file = |path: &&str| serde_json::from_value(json!({"rfilename": path, "size": 1, "blobId": "b"})).unwrap();
            paths.iter().map(file).collect()
        };
        let whole = ["config.json", "tokenizer.json", "tokenizer_config.json", "model-00001-of-00002.safetensors"];
        let more = [
            "model.safetensors.index.json",
            "chat_template.jinja",
            "consolidated.safetensors",
            "README.md",
            "model.gguf",
            "onnx/config.json",
        ];
        let kept = needed(&name, files(&[&whole[..], &more].concat())).unwrap();
        let kept: Vec<&str> = kept.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(kept, [&whole[..], &more[..2]].concat());
        for (missing, given) in [("config.json", &whole[1..]), ("*.safetensors", &whole[..3])] {
            let error = needed(&name, files(given)).unwrap_err().to_string();
            assert_eq!(error, format!("org/m has no {missing}; choose a model in safetensors or MLX format"));
        }
    }
}
