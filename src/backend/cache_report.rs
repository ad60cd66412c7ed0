//! What a backend's prefix cache holds and what it saved: plain data for `GET /cache`, metrics and the closing report.

use std::fmt;

use serde::Serialize;

/// The state of a prefix cache, and its counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheReport {
    pub max_entries: usize,
    /// `None`: as much as there is.
    pub max_bytes: Option<usize>,
    /// Memory it takes. What entries share counts once.
    pub bytes: usize,
    /// The prompts it has that no other continues, the most recently used first.
    pub entries: Vec<CacheEntry>,
    /// Prompts of which something was known, and the others.
    pub hits: u64,
    pub misses: u64,
    /// Hits among all prompts, from 0 to 1.
    pub hit_rate: f64,
    /// Known tokens among all prompt tokens, from 0 to 1.
    pub token_hit_rate: f64,
    pub prompt_tokens: u64,
    /// Prompt tokens that were known.
    pub saved_tokens: u64,
    /// What those would have taken, at the speed measured for the others.
    pub saved_seconds: f64,
    /// Prompt tokens computed, for warm-ups too.
    pub computed_tokens: u64,
    /// Runs of tokens forgotten to keep the limits.
    pub evictions: u64,
    /// What is kept on disk, where anything is.
    pub disk: Option<DiskReport>,
    /// The warm-up at work, if there is one.
    pub warming: Option<WarmUpReport>,
    pub memory: MemoryReport,
}

/// One kept prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CacheEntry {
    pub tokens: usize,
    /// Memory of all its tokens, in MB of 1,000,000 bytes.
    pub mb: f64,
    /// Memory of those it shares with no other.
    pub own_mb: f64,
}

/// The cache's part on disk, and its counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskReport {
    pub max_bytes: u64,
    /// What its files take.
    pub bytes: u64,
    /// Files, each a run of tokens.
    pub entries: usize,
    /// Prompts for which something was read when they came: not those that went on from what was read ahead.
    pub hits: u64,
    /// Tokens read: for prompts, and ahead of them.
    pub tokens: u64,
    /// Files dropped: damaged, or of another model or version.
    pub dropped: u64,
}

/// How far a warm-up is, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WarmUpReport {
    pub done: usize,
    pub total: usize,
}

/// Memory in use, measured, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// What MLX's arrays take.
    pub active_bytes: usize,
    /// What MLX holds ready for the next ones.
    pub cache_bytes: usize,
    /// The most that arrays ever took.
    pub peak_bytes: usize,
    /// The process's resident memory, where the system tells.
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
