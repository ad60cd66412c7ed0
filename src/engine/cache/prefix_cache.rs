//! The prefix cache of a model: its keys and values in the tree, and what they saved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mlx_rs::error::Exception;

use super::disk::Recalled;
use super::tree::{PrefixTree, Segment};
use super::{CacheLimits, CacheStats, DiskCache};
use crate::engine::model::KvSegment;
use crate::engine::schedule::sequence::Sequence;

/// Runs of together at most so many tokens become one: attention goes through them one by one.
const JOIN_BELOW: usize = 512;

/// Tokens and what covers them.
type Known = (Vec<u32>, Vec<Segment<KvSegment>>);

/// What was computed of earlier prompts. Every thread can read its [`CacheStats`].
pub struct PrefixCache {
    tree: PrefixTree<KvSegment>,
    disk: Option<DiskCache>,
    stats: CacheStats,
    published: Arc<Mutex<CacheStats>>,
}

impl PrefixCache {
    /// An empty cache, over what is on the disk, that tells `published` of every change.
    pub fn new(limits: CacheLimits, disk: Option<DiskCache>, published: Arc<Mutex<CacheStats>>) -> Self {
        let stats = CacheStats { limits: limits.clone(), ..CacheStats::default() };
        let cache = Self { tree: PrefixTree::new(limits, JOIN_BELOW), disk, stats, published };
        cache.publish();
        cache
    }

    /// Gives a prompt's sequence what is known of it, all but the last token at most, and counts that as a hit or a miss.
    pub fn start(&mut self, sequence: &mut Sequence, prompt: &[u32]) -> Result<(), Exception> {
        if self.recall(prompt)? {
            self.disk.iter_mut().for_each(DiskCache::count_hit);
        }
        self.catch_up(sequence, prompt)?;
        let known = sequence.tokens().len();
        if known > 0 {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
        }
        self.stats.prompt_tokens += prompt.len() as u64;
        self.stats.saved_tokens += known as u64;
        self.publish();
        Ok(())
    }

    /// Where more of the prompt is known than the sequence has (somebody else computed it in the meantime), the sequence
    /// goes on from there.
    pub fn catch_up(&mut self, sequence: &mut Sequence, prompt: &[u32]) -> Result<(), Exception> {
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        if self.tree.known(wanted) > sequence.tokens().len() {
            sequence.resume(wanted, self.tree.lookup(wanted)?);
        }
        Ok(())
    }

    /// Brings what only the disk knows of a prompt into memory; `false` if that is nothing.
    pub fn recall(&mut self, prompt: &[u32]) -> Result<bool, Exception> {
        let Some((tokens, segments)) = self.read(&prompt[..prompt.len().saturating_sub(1)])? else { return Ok(false) };
        self.tree.insert(&tokens, &segments)?;
        self.disk.iter_mut().for_each(|disk| disk.touch(prompt));
        self.publish();
        Ok(true)
    }

    /// Brings what only the disk knows of these tokens into memory before anybody asks. Nothing is forgotten for it.
    pub fn read_ahead(&mut self, tokens: &[u32]) -> Result<(), Exception> {
        if let Some((tokens, segments)) = self.read(tokens)? {
            self.tree.insert_as_oldest(&tokens, &segments)?;
            self.publish();
        }
        Ok(())
    }

    /// What memory and the disk know together, where the disk knows more.
    fn read(&mut self, wanted: &[u32]) -> Result<Option<Known>, Exception> {
        let known = self.tree.known(wanted);
        let recalled = self.disk.as_mut().and_then(|disk| disk.recall(wanted, known));
        let Some(Recalled { tokens, start, segments }) = recalled else { return Ok(None) };
        let before = self.tree.segments(&tokens[..start])?;
        Ok(Some((tokens, [before, segments].concat())))
    }

    /// What the disk was used for last, before this process too, as many as memory may keep; what was used last of all comes first.
    pub fn latest_on_disk(&self) -> Vec<Vec<u32>> {
        self.disk.as_ref().map(|disk| disk.latest(self.stats.limits.entries)).unwrap_or_default()
    }

    /// Keeps what a sequence has computed.
    pub fn keep(&mut self, sequence: &mut Sequence) -> Result<(), Exception> {
        sequence.seal()?;
        self.tree.insert(sequence.tokens(), sequence.segments())?;
        if let Some(disk) = &mut self.disk {
            disk.keep(sequence.tokens(), sequence.segments())?;
        }
        self.publish();
        Ok(())
    }

    /// How many of a prompt's tokens are known.
    pub fn known(&self, prompt: &[u32]) -> usize {
        self.tree.known(prompt)
    }

    /// Forgets the least recently used until it takes so many bytes less, or nothing is left. The disk keeps it.
    pub fn shrink_by(&mut self, bytes: usize) {
        self.tree.shrink_to(self.tree.bytes().saturating_sub(bytes));
        self.publish();
    }

    /// Counts prompt tokens that were computed.
    pub fn count_computed(&mut self, tokens: usize, time: Duration) {
        self.stats.computed_tokens += tokens as u64;
        self.stats.computing += time;
    }

    /// Forgets everything, on the disk too.
    pub fn clear(&mut self) {
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
