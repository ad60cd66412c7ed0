//! Several load generators' figures as those of one. Pure.

use std::collections::HashSet;

use super::{Errors, Measured};

/// Why two reports cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// They measured other things.
    #[error("{what} differ: merge only what was measured at the same time, with the same options")]
    Differ {
        /// What differs.
        what: &'static str,
    },
    /// The same samples would count twice.
    #[error("shard {nth}/{of} comes twice: give each report once")]
    Twice {
        /// Which shard.
        nth: usize,
        /// Of how many.
        of: usize,
    },
}

impl Measured {
    /// Both together. The counts of the histograms are added, so percentiles are those of all requests, and no mean of
    /// percentiles.
    ///
    /// # Errors
    /// They are not of shards of one load.
    pub fn merged(mut self, other: &Self) -> Result<Self, MergeError> {
        let differ = |what| Err(MergeError::Differ { what });
        if (&self.target.backend, &self.target.model) != (&other.target.backend, &other.target.model) {
            return differ("what answered");
        }
        if self.pattern != other.pattern || self.shards.iter().chain(&other.shards).any(|shard| shard.of != self.shards[0].of) {
            return differ("the pattern or the number of shards");
        }
        if self.budget != other.budget {
            return differ("the budgets");
        }
        if let Some(twice) = self.shards.iter().find(|shard| other.shards.contains(shard)) {
            return Err(MergeError::Twice { nth: twice.nth, of: twice.of });
        }
        self.shards.extend(&other.shards);
        self.requests = self.requests.saturating_add(other.requests);
        self.answered = self.answered.saturating_add(other.answered);
        for (kind, more) in &other.errors {
            let first = || Errors { count: 0, example: more.example.clone() };
            let sum = self.errors.entry(kind.clone()).or_insert_with(first);
            sum.count = sum.count.saturating_add(more.count);
        }
        self.wall_us = self.wall_us.max(other.wall_us);
        self.ttft = self.ttft.added(&other.ttft);
        self.tpot = self.tpot.added(&other.tpot);
        self.e2e = self.e2e.added(&other.e2e);
        self.held = self.held.added(&other.held);
        self.late = self.late.added(&other.late);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.cache_read_tokens = self.cache_read_tokens.zip(other.cache_read_tokens).map(|(one, more)| one.saturating_add(more));
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.within_budget = self.within_budget.zip(other.within_budget).map(|(one, more)| one.saturating_add(more));
        // The names of machines have no comma.
        let mut hosts: Vec<_> = self.target.host.split(", ").chain(other.target.host.split(", ")).collect();
        let mut known = HashSet::new();
        hosts.retain(|host| known.insert(*host));
        self.target.host = hosts.join(", ");
        Ok(self)
    }
}
