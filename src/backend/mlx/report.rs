//! The engine's counts as a backend's cache report.

use crate::backend::{CacheEntry, CacheReport, DiskReport, MemoryReport};
use crate::engine::{CacheStats, CachedPrompt, DiskStats, MemoryUse};

/// The cache's part of the report: no background work.
pub(super) fn report(stats: CacheStats, memory: MemoryUse) -> CacheReport {
    let mb = |bytes: usize| bytes as f64 / 1e6;
    let entry = |entry: &CachedPrompt| CacheEntry { tokens: entry.tokens, mb: mb(entry.bytes), own_mb: mb(entry.own_bytes) };
    CacheReport {
        max_entries: stats.limits.entries,
        max_bytes: stats.limits.bytes,
        bytes: stats.bytes,
        entries: stats.entries.iter().map(entry).collect(),
        hits: stats.hits,
        misses: stats.misses,
        hit_rate: stats.hit_rate(),
        token_hit_rate: stats.token_hit_rate(),
        prompt_tokens: stats.prompt_tokens,
        saved_tokens: stats.saved_tokens,
        saved_seconds: stats.saved_time().as_secs_f64(),
        computed_tokens: stats.computed_tokens,
        evictions: stats.evictions,
        disk: stats.disk.map(disk_report),
        warming: None,
        reading_ahead: false,
        memory: MemoryReport {
            active_bytes: memory.active,
            cache_bytes: memory.buffered,
            peak_bytes: memory.peak,
            rss_bytes: memory.resident,
        },
    }
}

fn disk_report(stats: DiskStats) -> DiskReport {
    let DiskStats { max_bytes, entries, bytes, hits, tokens, dropped } = stats;
    DiskReport { max_bytes, bytes, entries, hits, tokens, dropped }
}
