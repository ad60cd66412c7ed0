//! The prefix cache: segments computed for earlier prompts, shared by all prompts that begin alike.
//!
//! `tree` finds the segments of a prompt and evicts, for any payload; `prefix_cache` holds the model's keys and values in it and
//! counts hits; `resume_points` says where the state of recurrent layers is kept; `disk` keeps segments for the next start;
//! `stats` is what the cache reports. Knows nothing of sequences or requests: it takes tokens and hands out segments.

mod disk;
mod prefix_cache;
mod resume_points;
mod stats;
mod tree;

pub(super) use disk::DiskCache;
pub use disk::{DiskOptions, DiskStats};
pub(super) use prefix_cache::PrefixCache;
pub use stats::CacheStats;
pub use tree::{CacheLimits, CachedPrompt, PrefixTree};
