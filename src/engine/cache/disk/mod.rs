//! The prefix cache's second life: runs of tokens in a folder, for the next start.
//!
//! `run` is one file, `index` knows which there are, `writer` is the thread that writes them, `manifest` says what computed
//! them. Reading happens on the device's thread, when a prompt needs it or there is nothing else to do.

mod index;
mod manifest;
mod run;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mlx_rs::error::Exception;
use rustix::fs::{FlockOperation, flock};

use self::index::{Cover, RunIndex};
use self::manifest::Manifest;
use self::run::{FileName, Run, RunId, decode, read_run};
use self::writer::Writer;
use super::{Payload, Segment};
use crate::engine::EngineError;
use crate::engine::model::KvSegment;
use crate::files::is_temporary;

/// Held by the process that uses the folder.
const LOCK: &str = "lock";

/// Where the cache outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Made where it is not there.
    pub folder: PathBuf,
    /// What the files may take, in bytes.
    pub bytes: u64,
}

/// What is on the disk, and what that was good for since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// What the files may take, in bytes.
    pub max_bytes: u64,
    /// Files, each a run of tokens.
    pub entries: usize,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Prompts for which something was read when they came: not those that went on from what was read ahead.
    pub hits: u64,
    /// Tokens read: for prompts, and ahead of them.
    pub tokens: u64,
    /// Files dropped: damaged, or of another model or version.
    pub dropped: u64,
}

/// Runs of tokens in a folder. Dropping it waits until all is written.
pub struct DiskCache {
    folder: PathBuf,
    index: RunIndex,
    writer: Writer,
    stats: DiskStats,
    _lock: File,
}

/// What the disk knows of a prompt: the keys and values of `tokens` from `start` on.
pub struct Recalled {
    /// From the prompt's beginning; may go beyond what the prompt has in common with them.
    pub tokens: Vec<u32>,
    pub start: usize,
    pub segments: Vec<Segment<KvSegment>>,
}

impl DiskCache {
    /// Opens a folder for a model folder, and drops what is damaged or not this model's. `None`: another process uses it.
    /// Reads all the model's weights, and no keys or values yet.
    pub fn open(options: DiskOptions, model: &Path) -> Result<Option<Self>, EngineError> {
        let DiskOptions { folder, bytes: max_bytes } = options;
        let error = |error: io::Error| EngineError::CacheFolder { path: folder.clone(), reason: error.to_string() };
        fs::create_dir_all(&folder).map_err(error)?;
        let lock = File::options().create(true).append(true).open(folder.join(LOCK)).map_err(error)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            tracing::warn!(folder = %folder.display(), "another process keeps its prefix cache here: nothing is kept on disk");
            return Ok(None);
        }
        let manifest = Manifest::of(model)?;
        let (index, dropped) = scan(&folder, manifest.root()).map_err(error)?;
        if Manifest::read(&folder).as_ref() != Some(&manifest) {
            manifest.write(&folder).map_err(error)?;
        }
        let writer = Writer::start(folder.clone()).map_err(error)?;
        let stats = DiskStats { max_bytes, dropped, ..DiskStats::default() };
        let mut disk = Self { folder, index, writer, stats, _lock: lock };
        disk.enforce_limit();
        Ok(Some(disk))
    }

    /// What is on the disk, and what that was good for.
    pub fn stats(&self) -> DiskStats {
        DiskStats { entries: self.index.len(), bytes: self.index.bytes(), ..self.stats.clone() }
    }

    /// Has what is missing of a sequence written; nothing, while too much waits to be written.
    pub fn keep(&mut self, tokens: &[u32], segments: &[Segment<KvSegment>]) -> Result<(), Exception> {
        self.settle();
        let Cover { runs, tokens: covered, mut parent, parent_end } = self.index.cover(tokens);
        self.index.touch(&runs);
        if covered == tokens.len() {
            self.touch_file(runs.last());
            return Ok(());
        }
        let mut end = 0;
        for Segment { tokens: length, payload } in segments {
            let start = end;
            end += length;
            if end <= parent_end || *length == 0 {
                continue;
            }
            if !self.writer.has_room() {
                break;
            }
            let payload = if start < parent_end { payload.split(parent_end - start)?.1 } else { payload.clone() };
            let run = Run { parent, tokens: tokens[start.max(parent_end)..end].to_vec() };
            let (name, bytes) = run.encode(&payload).map_err(Exception::custom)?;
            parent = name.id;
            self.index.insert(run, name, bytes.len() as u64);
            self.writer.write(name, bytes);
        }
        self.enforce_limit();
        Ok(())
    }

    /// The tokens of what was used last, before this process too; what was used last of all comes first. At most so many.
    pub fn latest(&self, most: usize) -> Vec<Vec<u32>> {
        self.index.latest(most)
    }

    /// Reads what is there of a prompt beyond its first `known` tokens. What turns out to be damaged is dropped. Does not
    /// count as a use.
    pub fn recall(&mut self, prompt: &[u32], known: usize) -> Option<Recalled> {
        self.settle();
        loop {
            let (cover, dropped) = (self.index.cover(prompt), self.stats.dropped);
            if cover.tokens <= known {
                return None;
            }
            let recalled = self.read_runs(&cover.runs, known);
            // Without what was dropped there may be another way.
            if self.stats.dropped == dropped {
                if recalled.segments.is_empty() {
                    return None;
                }
                self.stats.tokens += (recalled.tokens.len().min(cover.tokens) - known) as u64;
                return Some(recalled);
            }
        }
    }

    /// Reads runs that continue each other, but those that end within the first `known` tokens.
    fn read_runs(&mut self, runs: &[RunId], known: usize) -> Recalled {
        let mut recalled = Recalled { tokens: Vec::new(), start: 0, segments: Vec::new() };
        for id in runs {
            let tokens = self.index.tokens(*id).to_vec();
            let end = recalled.tokens.len() + tokens.len();
            if end <= known {
                recalled.start = end;
            } else {
                let Some(payload) = self.read(*id) else { break };
                recalled.segments.push(Segment { tokens: tokens.len(), payload });
            }
            recalled.tokens.extend(tokens);
        }
        recalled
    }

    /// Counts a prompt that goes on from what was read for it.
    pub fn count_hit(&mut self) {
        self.stats.hits += 1;
    }

    /// Counts as a use of what is there of a prompt.
    pub fn touch(&mut self, prompt: &[u32]) {
        let runs = self.index.cover(prompt).runs;
        self.index.touch(&runs);
        self.touch_file(runs.last());
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.settle();
        self.index.clear().into_iter().for_each(|name| self.writer.remove(name));
    }

    fn read(&mut self, id: RunId) -> Option<KvSegment> {
        let name = self.index.name(id)?;
        let read = fs::read(self.folder.join(name.to_string()));
        let reason = match read.as_deref().map(|bytes| decode(name, bytes)) {
            Ok(Ok(payload)) => return Some(payload),
            // It still waits to be written.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.writer.is_idle() => return None,
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        let names = self.index.remove(id);
        tracing::warn!(file = %name, reason, entries = names.len(), "dropped from the prefix cache on disk, with what continues it");
        self.stats.dropped += names.len() as u64;
        names.into_iter().for_each(|name| self.writer.remove(name));
        None
    }

    /// Forgets what could not be written.
    fn settle(&mut self) {
        for id in self.writer.failed() {
            self.index.remove(id).into_iter().for_each(|name| self.writer.remove(name));
        }
    }

    fn enforce_limit(&mut self) {
        while self.index.bytes() > self.stats.max_bytes {
            let Some(name) = self.index.evict() else { break };
            self.writer.remove(name);
        }
    }

    fn touch_file(&self, id: Option<&RunId>) {
        if let Some(name) = id.and_then(|id| self.index.name(*id)) {
            self.writer.touch(name);
        }
    }
}

/// The runs in a folder that belong to a model, and how many files were dropped because they do not.
fn scan(folder: &Path, root: RunId) -> io::Result<(RunIndex, u64)> {
    let (mut found, mut dropped) = (HashMap::<RunId, Vec<_>>::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_temporary(&path) {
            // A killed process left it: this one has the folder's lock.
            fs::remove_file(&path)?;
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.parse::<FileName>().ok()) else { continue };
        let meta = path.metadata()?;
        match read_run(&path) {
            Ok(run) if run.id() == name.id => {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.entry(run.parent).or_default().push((used, run, name, meta.len()));
            }
            Ok(_) | Err(_) => dropped.push(name),
        }
    }
    let mut index = RunIndex::new(root);
    let (mut uses, mut parents) = (Vec::new(), vec![root]);
    while let Some(parent) = parents.pop() {
        for (used, run, name, bytes) in found.remove(&parent).unwrap_or_default() {
            uses.push((used, name.id));
            parents.push(name.id);
            index.insert(run, name, bytes);
        }
    }
    uses.sort_by_key(|(used, _)| *used);
    uses.into_iter().for_each(|(_, id)| index.touch(&[id]));
    dropped.extend(found.into_values().flatten().map(|(_, _, name, _)| name));
    if !dropped.is_empty() {
        let (folder, entries) = (folder.display(), dropped.len());
        tracing::warn!(%folder, entries, "dropped from the prefix cache on disk: damaged, or of another model or version");
    }
    for name in &dropped {
        fs::remove_file(folder.join(name.to_string()))?;
    }
    Ok((index, dropped.len() as u64))
}

#[cfg(test)]
mod tests;
