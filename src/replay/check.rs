//! Whether the cold, warm and cached states really happened, going by what the backend reports to have read from its cache. Pure.

use serde::Serialize;

use super::{Phase, Run};

/// A phase that did not happen: its time means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhaseFailure {
    pub phase: Phase,
    pub repeat: u32,
    pub prompt_tokens: u64,
    pub cache_read_tokens: u64,
    pub reason: PhaseReason,
}

/// What is wrong with the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseReason {
    /// Cold, and yet something was cached.
    NotCold,
    /// Warm or cached, and yet nothing was cached.
    NothingCached,
    /// Warm, and yet everything was cached.
    AllCached,
    /// Cached, and yet much had to be computed.
    MuchNotCached,
    /// Cached, and yet no more than the shared prefix was cached.
    OnlyPrefixCached,
}

/// Cached means that at most one in this many prompt tokens had to be computed, cold that at most one was read.
const SMALL_PART: u64 = 10;

/// The phases that did not happen. Runs without cache figures are taken on trust; the report says so. `cold_limit` is how many
/// cached tokens still count as cold, as far as they are a small part of the prompt.
pub fn check(runs: &[Run], cold_limit: u64) -> Vec<PhaseFailure> {
    let warm_read = runs.iter().filter(|run| run.phase == Phase::Warm).filter_map(|run| run.cache_read_tokens).max();
    let failure = |run: &Run| {
        let (read, prompt) = (run.cache_read_tokens?, run.prompt_tokens);
        let is_cold = read <= cold_limit && read * SMALL_PART <= prompt;
        let reason = reason(run.phase, read, prompt, is_cold, warm_read)?;
        Some(PhaseFailure { phase: run.phase, repeat: run.repeat, prompt_tokens: prompt, cache_read_tokens: read, reason })
    };
    runs.iter().filter_map(failure).collect()
}

fn reason(phase: Phase, read: u64, prompt: u64, is_cold: bool, warm_read: Option<u64>) -> Option<PhaseReason> {
    match phase {
        Phase::Cold => (!is_cold).then_some(PhaseReason::NotCold),
        Phase::Warm | Phase::Cached if read == 0 => Some(PhaseReason::NothingCached),
        Phase::Warm => (read >= prompt).then_some(PhaseReason::AllCached),
        Phase::Cached if (prompt - read.min(prompt)) * SMALL_PART > prompt => Some(PhaseReason::MuchNotCached),
        Phase::Cached => warm_read.is_some_and(|shared| read <= shared).then_some(PhaseReason::OnlyPrefixCached),
    }
}

impl std::fmt::Display for PhaseFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { phase, repeat, prompt_tokens, cache_read_tokens, reason } = self;
        let expected = match reason {
            PhaseReason::NotCold => "expected none",
            PhaseReason::NothingCached => "expected some; if this backend keeps no prefix cache, use --phases cold",
            PhaseReason::AllCached => "expected the shared prefix only",
            PhaseReason::MuchNotCached => "expected nearly all",
            PhaseReason::OnlyPrefixCached => "expected more than the warm request read",
        };
        write!(
            f,
            "{phase} did not happen in repeat {repeat}: {cache_read_tokens} of {prompt_tokens} prompt tokens came from the cache, {expected}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Outcome;
    use Phase::{Cached, Cold, Warm};

    fn run(phase: Phase, cache_read_tokens: Option<u64>) -> Run {
        let outcome = Outcome { stop_reason: None, tool_use: Vec::new() };
        let (ttft_us, itl_us) = (None, Vec::new());
        Run { phase, repeat: 1, ttft_us, e2e_us: 0, itl_us, prompt_tokens: 1000, cache_read_tokens, output_tokens: 0, outcome }
    }

    #[test]
    fn a_phase_that_did_not_happen_is_found() {
        use PhaseReason::*;
        type Reads = &'static [(Phase, u64)];
        type Failures = &'static [(Phase, PhaseReason)];
        let table: [(Reads, Failures); 12] = [
            (&[(Cold, 0), (Cached, 999), (Warm, 800)], &[]),
            (&[(Cold, 1)], &[(Cold, NotCold)]),
            (&[(Warm, 0)], &[(Warm, NothingCached)]),
            (&[(Warm, 1000)], &[(Warm, AllCached)]),
            (&[(Warm, 950)], &[]),
            (&[(Cached, 0)], &[(Cached, NothingCached)]),
            (&[(Cached, 899)], &[(Cached, MuchNotCached)]),
            (&[(Cached, 900)], &[]),
            (&[(Cached, 1000)], &[]),
            (&[(Warm, 950), (Cached, 950)], &[(Cached, OnlyPrefixCached)]),
            (&[(Warm, 950), (Cached, 960)], &[]),
            (&[(Cold, 0), (Cached, 0), (Warm, 0)], &[(Cached, NothingCached), (Warm, NothingCached)]),
        ];
        for (runs, expected) in table {
            let runs: Vec<Run> = runs.iter().map(|(phase, read)| run(*phase, Some(*read))).collect();
            let found: Vec<_> = check(&runs, 0).iter().map(|failure| (failure.phase, failure.reason)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_all_prompts_start_with_may_stay_cached_where_nothing_can_be_cleared() {
        let cold = |read| check(&[run(Cold, Some(read))], 32).is_empty();
        assert_eq!([0, 32, 33].map(cold), [true, true, false]);
        let short = Run { prompt_tokens: 100, ..run(Cold, Some(32)) };
        assert_eq!(check(&[short], 32)[0].reason, PhaseReason::NotCold);
    }

    #[test]
    fn runs_without_cache_figures_are_taken_on_trust() {
        assert_eq!(check(&[run(Cold, None), run(Cached, None), run(Warm, None)], 0), []);
    }

    #[test]
    fn a_failure_says_what_was_seen_and_expected() {
        insta::assert_snapshot!(
            check(&[run(Warm, Some(0))], 0)[0],
            @"warm did not happen in repeat 1: 0 of 1000 prompt tokens came from the cache, expected some; if this backend keeps no prefix cache, use --phases cold"
        );
    }
}
