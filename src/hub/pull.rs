//! Brings a model's files into the cache. Whatever ends a pull, the next one goes on where it ended: each file grows as
//! `<hash>.incomplete`, becomes a blob when it is whole and right, and the model has its name only when it has all of them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::StatusCode;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::cache::failed;
use super::{HubCache, HubClient, HubError, Listing, ModelName, RemoteFile};

/// Files that come at a time.
const AT_A_TIME: usize = 4;

/// How often a file may break off without a byte of it having come.
const ATTEMPTS: u32 = 5;

/// How long the first break in a connection is waited out; each further one twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What a pull tells meanwhile.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// So many bytes are to come, or are there from an earlier pull.
    Total(u64),
    /// So many more bytes are there.
    Got(u64),
    /// So many bytes must come again.
    Lost(u64),
}

/// Brings what a model needs into the cache, and gives its folder.
///
/// # Errors
/// Whatever [`HubError`] says; what has come stays.
pub async fn pull(
    hub: &HubClient,
    cache: &HubCache,
    name: &ModelName,
    tell: &(dyn Fn(Progress) + Sync),
) -> Result<PathBuf, HubError> {
    let Listing { commit, files } = hub.list(name).await?;
    let files = needed(name, files)?;
    // Files of the same content are one blob.
    let mut hashes = HashSet::new();
    let blobs: Vec<&RemoteFile> = files.iter().filter(|file| hashes.insert(file.hash())).collect();
    tell(Progress::Total(blobs.iter().map(|file| file.size).sum()));
    let pulled = stream::iter(blobs).map(|file| async {
        let blob = cache.blob(name, file.hash())?;
        Download { hub, name, commit: &commit, file, tell }.finish(&blob).await
    });
    pulled.buffer_unordered(AT_A_TIME).try_collect::<()>().await?;
    for file in &files {
        cache.link(name, &commit, &file.path, file.hash())?;
    }
    cache.point(name, &commit)?;
    cache.snapshot(name).ok_or(HubError::NoHome)
}

/// The files that a model is loaded from. Weights in other formats, and whatever lies in folders, stay behind.
fn needed(name: &ModelName, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>, HubError> {
    let has = |wanted: &str| files.iter().any(|file| file.path == wanted);
    for missing in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        if !has(missing) {
            return Err(HubError::NoModel { name: name.clone(), missing });
        }
    }
    // Mistral's repositories hold all weights twice.
    let twice = has("model.safetensors.index.json") || has("model.safetensors");
    let is_needed = |file: &RemoteFile| {
        let wanted = [".json", ".safetensors", ".jinja"].iter().any(|end| file.path.ends_with(end));
        wanted && !file.path.contains('/') && !(twice && file.path.starts_with("consolidated"))
    };
    let needed: Vec<RemoteFile> = files.into_iter().filter(is_needed).collect();
    match needed.iter().any(|file| file.path.ends_with(".safetensors")) {
        true => Ok(needed),
        false => Err(HubError::NoModel { name: name.clone(), missing: "*.safetensors" }),
    }
}

/// One file on its way.
struct Download<'a> {
    hub: &'a HubClient,
    name: &'a ModelName,
    commit: &'a str,
    file: &'a RemoteFile,
    tell: &'a (dyn Fn(Progress) + Sync),
}

impl Download<'_> {
    /// Returns when the blob is there.
    async fn finish(&self, blob: &Path) -> Result<(), HubError> {
        if fs::try_exists(blob).await.unwrap_or(false) {
            (self.tell)(Progress::Got(self.file.size));
            return Ok(());
        }
        let path = blob.with_file_name(format!("{}.incomplete", self.file.hash()));
        let mut part = Part::open(&path).await?;
        (self.tell)(Progress::Got(part.length));
        let mut attempts = 0;
        while part.length < self.file.size {
            let before = part.length;
            let Err(error) = self.go_on(&mut part).await else { break };
            // Whoever gets on is not at the end of their patience.
            attempts = if part.length > before { 1 } else { attempts + 1 };
            if attempts == ATTEMPTS || !may_pass(&error) {
                return Err(error);
            }
            tracing::info!(file = self.file.path, at = part.length, %error, "broken off: trying again");
            tokio::time::sleep(FIRST_WAIT * 2_u32.pow(attempts - 1)).await;
        }
        if !part.is(self.file).await? {
            fs::remove_file(&path).await.map_err(|error| failed(&path, error))?;
            return Err(HubError::Damaged { name: self.name.clone(), file: self.file.path.clone() });
        }
        fs::rename(&path, blob).await.map_err(|error| failed(blob, error))
    }

    /// Asks for what is missing and appends what comes, until the answer ends or breaks off.
    async fn go_on(&self, part: &mut Part) -> Result<(), HubError> {
        let mut response = self.hub.get(self.name, self.commit, &self.file.path, part.length).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT && part.length > 0 {
            (self.tell)(Progress::Lost(part.length));
            part.empty().await?;
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.hub.unreachable(&error))? {
            part.append(&chunk).await?;
            (self.tell)(Progress::Got(chunk.len() as u64));
        }
        Ok(())
    }
}

/// Whether an error may be over soon.
fn may_pass(error: &HubError) -> bool {
    match error {
        HubError::Unreachable { .. } => true,
        HubError::Answered { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

/// A file that is growing, and the hash of what is in it.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hash: Sha256,
}

impl Part {
    /// Opens the file, which an earlier pull may have begun.
    async fn open(path: &Path) -> Result<Self, HubError> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).await;
        let file = file.map_err(|error| failed(path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(HubError::Busy { path: path.to_owned() }),
            locked => locked.map_err(|errno| failed(path, errno.into()))?,
        }
        let mut part = Self { path: path.to_owned(), file, length: 0, hash: Sha256::new() };
        let mut buffer = vec![0; 1 << 20];
        loop {
            match part.file.read(&mut buffer).await.map_err(|error| failed(path, error))? {
                0 => return Ok(part),
                read => {
                    part.hash.update(&buffer[..read]);
                    part.length += read as u64;
                }
            }
        }
    }

    async fn append(&mut self, chunk: &[u8]) -> Result<(), HubError> {
        self.file.write_all(chunk).await.map_err(|error| failed(&self.path, error))?;
        self.hash.update(chunk);
        self.length += chunk.len() as u64;
        Ok(())
    }

    async fn empty(&mut self) -> Result<(), HubError> {
        let emptied: io::Result<()> = async {
            self.file.set_len(0).await?;
            self.file.rewind().await.map(drop)
        }
        .await;
        emptied.map_err(|error| failed(&self.path, error))?;
        (self.length, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// Whether it is on the disk, and the whole file.
    async fn is(&mut self, file: &RemoteFile) -> Result<bool, HubError> {
        self.file.sync_all().await.map_err(|error| failed(&self.path, error))?;
        let hash: String = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(self.length == file.size && file.sha256().is_none_or(|expected| expected == hash))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_model_is_loaded_from_is_needed_and_nothing_else() {
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
