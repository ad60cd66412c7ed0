//! The model's prefix cache: keys and values in a radix tree, backed by a folder on disk, with counts of what it saved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlx_rs::error::Exception;

use super::disk::Recalled;
use super::resume_points::ResumePoints;
use super::tree::PrefixTree;
use super::{CacheLimits, CacheStats, DiskCache};
use crate::engine::model::{Config, KvSegment};
use crate::engine::segment::{SEGMENT_TOKENS, Segment};

/// Keys and values of earlier prompts, in memory and on disk. Any thread can read the published [`CacheStats`].
///
/// All methods take the tokens to look up or to keep, except [`PrefixCache::start`], which takes a whole prompt.
pub(crate) struct PrefixCache {
    tree: PrefixTree<KvSegment>,
    disk: Option<DiskCache>,
    /// Where checkpoints are; `None`: the model needs none.
    resume_points: Option<ResumePoints>,
    stats: CacheStats,
    published: Arc<Mutex<CacheStats>>,
}

/// Tokens with the segments that cover exactly them.
struct KnownPrefix {
    tokens: Vec<u32>,
    segments: Vec<Segment<KvSegment>>,
}

impl PrefixCache {
    /// A cache with nothing in memory. Writes its stats to `published` after every change.
    pub(crate) fn new(limits: CacheLimits, disk: Option<DiskCache>, published: Arc<Mutex<CacheStats>>) -> Self {
        let stats = CacheStats { limits: limits.clone(), ..CacheStats::default() };
        let cache = Self { tree: PrefixTree::new(limits, SEGMENT_TOKENS), disk, resume_points: None, stats, published };
        cache.publish();
        cache
    }

    /// The same for a model: if its layers are recurrent, prompts are cut where checkpoints are to be.
    pub(crate) fn of_model(self, config: &Config) -> Self {
        let resume_points = (config.recurrent_layers() > 0).then(|| ResumePoints::new(config.end_tokens.clone()));
        Self { resume_points, ..self }
    }

    /// Where the prefill chunk ends that begins after the first `start` of these tokens and has at most `chunk`.
    pub(crate) fn chunk_end(&self, tokens: &[u32], start: usize, chunk: usize) -> usize {
        match &self.resume_points {
            Some(resume_points) => resume_points.chunk_end(tokens, start, chunk),
            None => tokens.len().min(start + chunk),
        }
    }

    /// Whether a checkpoint after exactly these tokens is worth keeping when there are later ones; `is_end`: no more of them are
    /// computed for this prompt.
    pub(crate) fn checkpoint_lasts(&self, tokens: &[u32], is_end: bool) -> bool {
        self.resume_points.as_ref().is_some_and(|resume_points| resume_points.lasts(tokens, is_end))
    }

    /// The segments that a new prompt begins with, and counts a hit or a miss. They never cover the prompt's last token: it
    /// has to be computed for the logits of the first answer token.
    pub(crate) fn start(&mut self, prompt: &[u32]) -> Result<Vec<Segment<KvSegment>>, Exception> {
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        if self.recall(wanted)? {
            self.disk.iter_mut().for_each(DiskCache::count_hit);
        }
        let segments = self.extension(wanted, 0)?.unwrap_or_default();
        let known: usize = segments.iter().map(|segment| segment.tokens).sum();
        if known > 0 {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
        }
        self.stats.prompt_tokens += prompt.len() as u64;
        self.stats.saved_tokens += known as u64;
        self.publish();
        Ok(segments)
    }

    /// The segments that `tokens` begin with, if they cover more than `held` tokens: others may have computed them since.
    pub(crate) fn extension(&mut self, tokens: &[u32], held: usize) -> Result<Option<Vec<Segment<KvSegment>>>, Exception> {
        if self.tree.known(tokens) > held { self.tree.lookup(tokens).map(Some) } else { Ok(None) }
    }

    /// Reads into memory what only the disk has of these tokens; `false` if there is nothing. Counts as a use.
    pub(crate) fn recall(&mut self, wanted: &[u32]) -> Result<bool, Exception> {
        let Some(KnownPrefix { tokens, segments }) = self.read(wanted)? else { return Ok(false) };
        self.tree.insert(&tokens, &segments)?;
        self.disk.iter_mut().for_each(|disk| disk.touch(wanted));
        self.publish();
        Ok(true)
    }

    /// How much of a conversation on disk is to be read at once to have at least the first `least` tokens.
    pub(crate) fn readable_end(&self, conversation: &[u32], least: usize) -> usize {
        let end = self.disk.as_ref().and_then(|disk| disk.checkpoint_from(conversation, least)).unwrap_or(least);
        end.min(conversation.len())
    }

    /// Reads into memory what only the disk has of these tokens, before any prompt asks. Evicts nothing for it.
    pub(crate) fn read_ahead(&mut self, wanted: &[u32]) -> Result<(), Exception> {
        if let Some(KnownPrefix { tokens, segments }) = self.read(wanted)? {
            self.tree.insert_as_oldest(&tokens, &segments)?;
            self.publish();
        }
        Ok(())
    }

    /// The tokens that memory and disk cover together, with their segments, if the disk has more than memory.
    fn read(&mut self, wanted: &[u32]) -> Result<Option<KnownPrefix>, Exception> {
        let known = self.tree.known(wanted);
        let recalled = self.disk.as_mut().and_then(|disk| disk.recall(wanted, known));
        let Some(Recalled { tokens, start, segments }) = recalled else { return Ok(None) };
        let before = self.tree.segments(&tokens[..start])?;
        Ok(Some(KnownPrefix { tokens, segments: [before, segments].concat() }))
    }

    /// The conversations on disk, the most recently used first (earlier processes count), at most as many as memory may hold.
    pub(crate) fn latest_on_disk(&self) -> Vec<Vec<u32>> {
        self.disk.as_ref().map(|disk| disk.latest(self.stats.limits.entries)).unwrap_or_default()
    }

    /// Keeps segments, in memory and on disk. They must cover exactly `tokens`.
    pub(crate) fn keep(&mut self, tokens: &[u32], segments: &[Segment<KvSegment>]) -> Result<(), Exception> {
        self.tree.insert(tokens, segments)?;
        if let Some(disk) = &mut self.disk {
            disk.keep(tokens, segments)?;
        }
        self.publish();
        Ok(())
    }

    /// How many of these tokens memory covers, from the first on. Does not count as a use.
    pub(crate) fn known(&self, tokens: &[u32]) -> usize {
        self.tree.known(tokens)
    }

    /// Evicts the least recently used segments until `bytes` are free, or nothing is left. They stay on disk.
    pub(crate) fn shrink_by(&mut self, bytes: usize) {
        self.tree.shrink_to(self.tree.bytes().saturating_sub(bytes));
        self.publish();
    }

    /// Counts prompt tokens that were prefilled.
    pub(crate) fn count_computed(&mut self, tokens: usize, time: Duration) {
        self.stats.computed_tokens += tokens as u64;
        self.stats.computing += time;
    }

    /// Removes everything, on disk too.
    pub(crate) fn clear(&mut self) {
        self.tree.clear();
        self.disk.iter_mut().for_each(DiskCache::clear);
        self.publish();
    }

    fn publish(&self) {
        let now = CacheStats {
            entries: self.tree.entries(),
            bytes: self.tree.bytes(),
            evictions: self.tree.evicted(),
            disk: self.disk.as_ref().map(DiskCache::stats),
            ..self.stats.clone()
        };
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}
