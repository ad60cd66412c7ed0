//! The prefix cache on disk: segment files in a folder, for the next start of the process.
//!
//! `segment_file` is the format of one file, `index` knows which segments there are, `writer` is the thread that writes and
//! removes files, `manifest` says which model computed them. Files are read on the device's thread, when a prompt needs them
//! or nothing else is to be done.

mod index;
mod manifest;
mod segment_file;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mlx_rs::error::Exception;
use rustix::fs::{FlockOperation, flock};

use self::index::{Cover, SegmentIndex};
use self::manifest::Manifest;
use self::segment_file::{FileName, SegmentHeader, SegmentId, decode, read_header};
use self::writer::SegmentWriter;
use crate::engine::model::{ComputePath, Config, KvSegment, KvShape};
use crate::engine::segment::{Payload, Segment};
use crate::engine::{EngineError, cache_folder};
use crate::files::is_temporary;

/// The file that the process using the folder holds a lock on.
const LOCK: &str = "lock";

/// Most disk space for the tokens of long texts, in bytes: room for a few thousand long prompts.
const MOST_FOR_TOKENS: u64 = 64 * 1024 * 1024;

/// Where the prefix cache is kept beyond the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Created if it does not exist.
    pub folder: PathBuf,
    /// Most disk space for the folder's files, in bytes.
    pub bytes: u64,
}

impl DiskOptions {
    /// The part of the disk space that is for the tokens of long texts, in bytes.
    pub(crate) fn for_tokens(&self) -> u64 {
        (self.bytes / 16).min(MOST_FOR_TOKENS)
    }

    /// The part of the disk space that is for segment files, in bytes.
    fn for_segments(&self) -> u64 {
        self.bytes - self.for_tokens()
    }
}

/// The size of the cache on disk, and its counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Most disk space for segment files, in bytes.
    pub max_bytes: u64,
    /// Number of segment files.
    pub entries: usize,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Prompts for which segments were read on arrival. Segments that had been read ahead do not count.
    pub hits: u64,
    /// Tokens of the segments read, for prompts and ahead of them.
    pub tokens: u64,
    /// Files removed because they were damaged, or of another model or version.
    pub dropped: u64,
}

/// Segment files in a folder. Dropping it waits until all queued files are written.
pub(crate) struct DiskCache {
    folder: PathBuf,
    /// The sizes that every segment must have.
    shape: KvShape,
    index: SegmentIndex,
    writer: SegmentWriter,
    stats: DiskStats,
    _lock: File,
}

/// Segments read from disk for a prompt: they cover `tokens` from `start` on.
pub(crate) struct Recalled {
    /// From the prompt's beginning. The last segment may reach beyond the prompt, or differ from it at some token.
    pub tokens: Vec<u32>,
    pub start: usize,
    pub segments: Vec<Segment<KvSegment>>,
}

impl DiskCache {
    /// Opens a cache folder for a model folder and a compute path, and removes segments that are damaged or another model's.
    /// `None` if another process uses the folder. Reads all weight files (to identify the model), but no keys or values.
    pub(crate) fn open(options: DiskOptions, model: &Path, path: ComputePath) -> Result<Option<Self>, EngineError> {
        let max_bytes = options.for_segments();
        let folder = options.folder;
        let error = |error: io::Error| EngineError::CacheFolder { path: folder.clone(), reason: error.to_string() };
        cache_folder::take(&folder)?;
        // Whoever can read it could hold the lock.
        let lock = cache_folder::open_to_append(&folder.join(LOCK)).map_err(error)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            tracing::warn!(folder = %folder.display(), "another process keeps its prefix cache here: nothing is kept on disk");
            return Ok(None);
        }
        let (manifest, shape) = (Manifest::of(model, path)?, KvShape::of(&Config::load(model)?));
        let (index, dropped) = scan(&folder, manifest.root()).map_err(error)?;
        if Manifest::read(&folder).as_ref() != Some(&manifest) {
            manifest.write(&folder).map_err(error)?;
        }
        let writer = SegmentWriter::start(folder.clone()).map_err(error)?;
        let stats = DiskStats { max_bytes, dropped, ..DiskStats::default() };
        let mut disk = Self { folder, shape, index, writer, stats, _lock: lock };
        disk.enforce_limit();
        Ok(Some(disk))
    }

    /// The size of the cache on disk, and its counts.
    pub(crate) fn stats(&self) -> DiskStats {
        DiskStats { entries: self.index.len(), bytes: self.index.bytes(), ..self.stats.clone() }
    }

    /// Queues the segments that the disk lacks for writing, unless too much is queued already. They must cover `tokens`.
    pub(crate) fn keep(&mut self, tokens: &[u32], segments: &[Segment<KvSegment>]) -> Result<(), Exception> {
        self.settle();
        let Cover { segments: covering, tokens: covered, mut parent, parent_end } = self.index.cover(tokens);
        let is_new = segments.last().is_some_and(|segment| has_lasting_checkpoint(&segment.payload)) && parent_end < tokens.len();
        if covered == tokens.len() && !is_new {
            self.mark_used(&covering);
            return Ok(());
        }
        // Only the index: the new files carry the time of this use.
        self.index.touch(&covering);
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
            let checkpoint = has_lasting_checkpoint(&payload);
            let header = SegmentHeader { parent, tokens: tokens[start.max(parent_end)..end].to_vec(), checkpoint };
            let (name, bytes) = header.encode(&payload).map_err(Exception::custom)?;
            parent = name.id;
            self.index.insert(header, name, bytes.len() as u64);
            self.writer.write(name, bytes);
        }
        self.enforce_limit();
        Ok(())
    }

    /// The most recently used conversations (earlier processes count), the latest first and at most `most`.
    pub(crate) fn latest(&self, most: usize) -> Vec<Vec<u32>> {
        self.index.latest(most)
    }

    /// Reads the segments that a prompt has beyond its first `known` tokens. Damaged files are removed. Does not count as a
    /// use.
    pub(crate) fn recall(&mut self, prompt: &[u32], known: usize) -> Option<Recalled> {
        self.settle();
        loop {
            let (cover, dropped) = (self.usable(prompt), self.stats.dropped);
            if cover.tokens <= known {
                return None;
            }
            let recalled = self.read_path(&cover.segments, known);
            // If a damaged file was dropped, another path may still cover the prompt.
            if self.stats.dropped == dropped {
                if recalled.segments.is_empty() {
                    return None;
                }
                self.stats.tokens += (recalled.tokens.len().min(cover.tokens) - known) as u64;
                return Some(recalled);
            }
        }
    }

    /// The segments from which a prompt can go on.
    fn usable(&self, prompt: &[u32]) -> Cover {
        if self.shape.needs_checkpoints() { self.index.cover_to_checkpoint(prompt) } else { self.index.cover(prompt) }
    }

    /// The first place after at least `least` tokens of a conversation where there is a checkpoint; `None` if there is none, or
    /// the model needs none.
    pub(crate) fn checkpoint_from(&self, conversation: &[u32], least: usize) -> Option<usize> {
        if !self.shape.needs_checkpoints() {
            return None;
        }
        let path = self.index.cover_to_checkpoint(conversation).segments;
        self.index.checkpoints(&path).into_iter().find(|end| *end >= least)
    }

    /// Reads a path of segments, without those that end within the first `known` tokens.
    fn read_path(&mut self, path: &[SegmentId], known: usize) -> Recalled {
        let mut recalled = Recalled { tokens: Vec::new(), start: 0, segments: Vec::new() };
        for id in path {
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

    /// Counts a prompt that continues from segments read for it.
    pub(crate) fn count_hit(&mut self) {
        self.stats.hits += 1;
    }

    /// Marks the segments of a prompt as used.
    pub(crate) fn touch(&mut self, prompt: &[u32]) {
        let cover = self.usable(prompt);
        self.mark_used(&cover.segments);
    }

    /// Marks a path of segments as used: in the index for this process, by the last file's time for the next one.
    fn mark_used(&mut self, path: &[SegmentId]) {
        self.index.touch(path);
        if let Some(name) = path.last().and_then(|last| self.index.name(*last)) {
            self.writer.touch(name);
        }
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.settle();
        self.index.clear().into_iter().for_each(|name| self.writer.remove(name));
    }

    fn read(&mut self, id: SegmentId) -> Option<KvSegment> {
        let name = self.index.name(id)?;
        let read = fs::read(self.folder.join(name.to_string()));
        let tokens = self.index.tokens(id).len();
        let reason = match read.as_deref().map(|bytes| decode(name, bytes, &self.shape, tokens)) {
            Ok(Ok(payload)) => return Some(payload),
            // It may still be queued for writing.
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

    /// Removes from the index what could not be written.
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
}

fn has_lasting_checkpoint(payload: &KvSegment) -> bool {
    payload.checkpoint().is_some_and(|checkpoint| checkpoint.lasting)
}

/// Indexes the segments in a folder that belong to a model and removes the other ones; returns their number too.
fn scan(folder: &Path, root: SegmentId) -> io::Result<(SegmentIndex, u64)> {
    let (mut found, mut dropped) = (HashMap::<SegmentId, Vec<_>>::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_temporary(&path) {
            // A killed process left it: no other process writes here while this one holds the lock.
            fs::remove_file(&path)?;
            continue;
        }
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.parse::<FileName>().ok()) else { continue };
        let meta = path.metadata()?;
        match read_header(&path) {
            Some(header) if header.id() == name.id => {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.entry(header.parent).or_default().push((used, header, name, meta.len()));
            }
            _ => dropped.push(name),
        }
    }
    let mut index = SegmentIndex::new(root);
    let (mut uses, mut parents) = (Vec::new(), vec![root]);
    while let Some(parent) = parents.pop() {
        for (used, header, name, bytes) in found.remove(&parent).unwrap_or_default() {
            uses.push((used, name.id));
            parents.push(name.id);
            index.insert(header, name, bytes);
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
