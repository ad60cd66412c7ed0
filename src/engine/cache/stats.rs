//! What the prefix cache holds and what it saved.

use std::time::Duration;

use super::{CacheLimits, DiskStats, Entry};

/// What the prefix cache holds now, and what it did since the engine started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// What it may keep.
    pub limits: CacheLimits,
    /// The prompts it has, the most recently used first.
    pub entries: Vec<Entry>,
    /// Memory it takes, in bytes. What entries share counts once.
    pub bytes: usize,
    /// Prompts of which something was known.
    pub hits: u64,
    /// Prompts of which nothing was known.
    pub misses: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Those that were known.
    pub saved_tokens: u64,
    /// Prompt tokens computed, for warm-ups too.
    pub computed_tokens: u64,
    /// How long that took.
    pub computing: Duration,
    /// Runs of tokens forgotten to keep the limits.
    pub evictions: u64,
    /// What is kept on disk, where anything is.
    pub disk: Option<DiskStats>,
}

impl CacheStats {
    /// The share of prompts of which something was known.
    pub fn hit_rate(&self) -> f64 {
        share(self.hits, self.hits + self.misses)
    }

    /// The share of prompt tokens that were known.
    pub fn token_hit_rate(&self) -> f64 {
        share(self.saved_tokens, self.prompt_tokens)
    }

    /// How long the known tokens would have taken to compute, at the speed measured for the others.
    pub fn saved_time(&self) -> Duration {
        self.computing.mul_f64(self.saved_tokens as f64 / self.computed_tokens.max(1) as f64)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_time_is_what_the_tokens_would_have_taken() {
        let stats = CacheStats {
            hits: 3,
            misses: 1,
            prompt_tokens: 400,
            saved_tokens: 300,
            computed_tokens: 100,
            computing: Duration::from_secs(2),
            ..CacheStats::default()
        };
        assert_eq!((stats.hit_rate(), stats.token_hit_rate(), stats.saved_time()), (0.75, 0.75, Duration::from_secs(6)));
        let none = CacheStats::default();
        assert_eq!((none.hit_rate(), none.token_hit_rate(), none.saved_time()), (0.0, 0.0, Duration::ZERO));
    }
}
