//! The prefix cache: what was computed of earlier prompts, shared between all that begin alike.
//!
//! `tree` knows which tokens are known, for any payload; `prefix_cache` keeps the model's keys and values in it and counts
//! what that saved; `disk` keeps them for the next start; `stats` is what it tells.

mod disk;
mod prefix_cache;
mod stats;
mod tree;

pub use disk::{DiskCache, DiskOptions, DiskStats};
pub use prefix_cache::PrefixCache;
pub use stats::CacheStats;
pub use tree::{CacheLimits, Entry, Payload, PrefixTree, Segment};
