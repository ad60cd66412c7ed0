//! The contents and counts of a backend's prefix cache, as plain data for `GET /cache`, metrics and the closing summary.

use std::fmt;

use serde::Serialize;

/// The state of a prefix cache, and its counts since the process started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheReport {
    /// The most prompts it keeps; 0 if it is turned off.
    pub max_entries: usize,
    /// The most memory it takes; `None` for all there is.
    pub max_bytes: Option<usize>,
    /// Memory in use. Tokens that several prompts share count once.
    pub bytes: usize,
    /// The cached prompts that are not a prefix of another one, the most recently used first.
    pub entries: Vec<CacheEntry>,
    /// Prompts of which a prefix was cached.
    pub hits: u64,
    /// Prompts of which nothing was cached.
    pub misses: u64,
    /// Hits among all prompts, from 0 to 1.
    pub hit_rate: f64,
    /// Cached tokens among all prompt tokens, from 0 to 1.
    pub token_hit_rate: f64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Prompt tokens that were cached.
    pub saved_tokens: u64,
    /// The time it would have taken to compute those, at the measured speed.
    pub saved_seconds: f64,
    /// Prompt tokens computed, including those of warm-ups.
    pub computed_tokens: u64,
    /// Segments dropped to keep the limits.
    pub evictions: u64,
    /// The part on disk, if there is one.
    pub disk: Option<DiskReport>,
    /// The warm-up in progress, if there is one.
    pub warming: Option<WarmUpReport>,
    /// Whether conversations are still being read from disk before anybody asks for them.
    pub reading_ahead: bool,
    /// Memory of the whole process.
    pub memory: MemoryReport,
}

/// One cached prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheEntry {
    /// Its length.
    pub tokens: usize,
    /// Memory of all its tokens, in MB of 1,000,000 bytes.
    pub mb: f64,
    /// Memory of the tokens it shares with no other prompt, in MB.
    pub own_mb: f64,
}

/// The part of a prefix cache that is on disk, and its counts since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskReport {
    /// The most its files may take.
    pub max_bytes: u64,
    /// The size of its files.
    pub bytes: u64,
    /// Segment files.
    pub entries: usize,
    /// Prompts for which segments were read when the prompt came. Segments read ahead do not count.
    pub hits: u64,
    /// Tokens read, for prompts and ahead of them.
    pub tokens: u64,
    /// Files that were removed because they were damaged or belong to another model or version.
    pub dropped: u64,
}

/// The progress of a warm-up, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WarmUpReport {
    /// Computed so far.
    pub done: usize,
    /// To compute in all.
    pub total: usize,
}

/// Memory in use, measured, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// Memory of MLX's arrays.
    pub active_bytes: usize,
    /// Memory that MLX keeps for reuse.
    pub cache_bytes: usize,
    /// The most memory that arrays took at any time.
    pub peak_bytes: usize,
    /// The process's resident memory, if the system reports it.
    pub rss_bytes: Option<usize>,
}

impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.max_entries == 0 {
            return f.write_str("turned off");
        }
        let prompts = self.hits + self.misses;
        write!(
            f,
            "{} of {prompts} prompts hit, {:.0}% of all prompt tokens known, about {:.1} s saved; {} kept in {:.1} MB, {} evicted",
            self.hits,
            100.0 * self.token_hit_rate,
            self.saved_seconds,
            self.entries.len(),
            self.bytes as f64 / 1e6,
            self.evictions,
        )?;
        let Some(disk) = &self.disk else { return Ok(()) };
        write!(f, "; {:.1} MB on disk, {} tokens read from there", disk.bytes as f64 / 1e6, disk.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_one_line() {
        let entries = vec![CacheEntry::default(); 3];
        let report = CacheReport {
            max_entries: 20,
            bytes: 45_120_000,
            entries,
            hits: 3,
            misses: 1,
            token_hit_rate: 0.754,
            saved_seconds: 12.34,
            evictions: 2,
            ..CacheReport::default()
        };
        insta::assert_snapshot!(report, @"3 of 4 prompts hit, 75% of all prompt tokens known, about 12.3 s saved; 3 kept in 45.1 MB, 2 evicted");
        let disk = Some(DiskReport { bytes: 7_200_000, tokens: 900, ..DiskReport::default() });
        insta::assert_snapshot!(CacheReport { disk, ..report }, @"3 of 4 prompts hit, 75% of all prompt tokens known, about 12.3 s saved; 3 kept in 45.1 MB, 2 evicted; 7.2 MB on disk, 900 tokens read from there");
        assert_eq!(CacheReport::default().to_string(), "turned off");
    }
}
