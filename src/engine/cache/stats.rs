//! What the prefix cache holds and what it saved.

use std::time::Duration;

use super::{CacheLimits, CachedPrompt, DiskStats};

/// What the prefix cache holds now, and its counts since the engine started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// How much the cache may hold.
    pub limits: CacheLimits,
    /// The prompts that no other cached prompt continues, the most recently used first.
    pub entries: Vec<CachedPrompt>,
    /// Memory in use, in bytes. Segments that prompts share count once.
    pub bytes: usize,
    /// Prompts that began with a cached segment.
    pub hits: u64,
    /// Prompts of which nothing was cached.
    pub misses: u64,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Prompt tokens that came from the cache.
    pub saved_tokens: u64,
    /// Prompt tokens that were prefilled, those of warm-ups included.
    pub computed_tokens: u64,
    /// Time spent on prefilling them.
    pub computing: Duration,
    /// Nodes removed to keep the limits or to free memory.
    pub evictions: u64,
    /// The cache on disk, if there is one.
    pub disk: Option<DiskStats>,
}

impl CacheStats {
    /// Hits among all prompts, from 0 to 1.
    pub fn hit_rate(&self) -> f64 {
        share(self.hits, self.hits + self.misses)
    }

    /// Tokens from the cache among all prompt tokens, from 0 to 1.
    pub fn token_hit_rate(&self) -> f64 {
        share(self.saved_tokens, self.prompt_tokens)
    }

    /// An estimate of the time saved: the tokens from the cache at the measured prefill speed.
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
