//! Whether the cold, warm and cached states really happened, judged by the cache reads that the backend reports. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Measurement, Phase};

/// A phase that did not happen, so that its times mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PhaseFailure {
    /// The phase that was meant.
    pub phase: Phase,
    /// Which measurement of this phase it is, from 1.
    pub repeat: u32,
    /// All prompt tokens.
    pub prompt_tokens: u64,
    /// Prompt tokens that the backend read from its cache.
    pub cache_read_tokens: u64,
    /// Why these reads do not fit the phase.
    pub reason: PhaseReason,
}

/// Why the cache reads do not fit the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseReason {
    /// Cold, but something was read.
    NotCold,
    /// Warm or cached, but nothing was read.
    NothingCached,
    /// Warm, but the whole prompt was read.
    AllCached,
    /// Cached, but much had to be computed.
    MuchNotCached,
    /// Cached, but no more was read than the shared prefix.
    OnlyPrefixCached,
}

/// At most one in this many prompt tokens may be computed in a cached request, or read in a cold one.
const SMALL_PART: u64 = 10;

/// The phases that did not happen. Measurements without cache figures are taken on trust. A cold request may read up to
/// `cold_limit` tokens, if they are a small part of its prompt.
pub fn check(measurements: &[Measurement], cold_limit: u64) -> Vec<PhaseFailure> {
    let warm = measurements.iter().filter(|measurement| measurement.phase == Phase::Warm);
    let warm_read = warm.filter_map(|measurement| measurement.cache_read_tokens).max();
    let failure = |measurement: &Measurement| {
        let (read, prompt) = (measurement.cache_read_tokens?, measurement.prompt_tokens);
        let is_cold = read <= cold_limit && read * SMALL_PART <= prompt;
        let reason = match measurement.phase {
            Phase::Cold => (!is_cold).then_some(PhaseReason::NotCold),
            Phase::Warm | Phase::Cached if read == 0 => Some(PhaseReason::NothingCached),
            Phase::Warm => (read >= prompt).then_some(PhaseReason::AllCached),
            Phase::Cached if (prompt - read.min(prompt)) * SMALL_PART > prompt => Some(PhaseReason::MuchNotCached),
            Phase::Cached => warm_read.is_some_and(|shared| read <= shared).then_some(PhaseReason::OnlyPrefixCached),
        }?;
        let (phase, repeat) = (measurement.phase, measurement.repeat);
        Some(PhaseFailure { phase, repeat, prompt_tokens: prompt, cache_read_tokens: read, reason })
    };
    measurements.iter().filter_map(failure).collect()
}

impl std::fmt::Display for PhaseFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { phase, repeat, prompt_tokens, cache_read_tokens, reason } = self;
        let expected = match reason {
            PhaseReason::NotCold => "expected none",
            PhaseReason::NothingCached => "expected some; a backend without a prefix cache has only the phase cold",
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
    use crate::replay::testing;
    use Phase::{Cached, Cold, Warm};

    /// With a prompt of 1000 tokens.
    fn measured(phase: Phase, cache_read_tokens: Option<u64>) -> Measurement {
        testing::measurement(phase, 1, cache_read_tokens)
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
        for (reads, expected) in table {
            let measurements: Vec<_> = reads.iter().map(|(phase, read)| measured(*phase, Some(*read))).collect();
            let found: Vec<_> = check(&measurements, 0).iter().map(|failure| (failure.phase, failure.reason)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_cold_request_may_read_a_few_tokens_where_nothing_can_be_cleared() {
        let cold = |read| check(&[measured(Cold, Some(read))], 32).is_empty();
        assert_eq!([0, 32, 33].map(cold), [true, true, false]);
        let short = Measurement { prompt_tokens: 100, ..measured(Cold, Some(32)) };
        assert_eq!(check(&[short], 32)[0].reason, PhaseReason::NotCold);
    }

    #[test]
    fn measurements_without_cache_figures_are_taken_on_trust() {
        assert_eq!(check(&[measured(Cold, None), measured(Cached, None), measured(Warm, None)], 0), []);
    }

    #[test]
    fn a_failure_says_what_was_seen_and_expected() {
        insta::assert_snapshot!(
            check(&[measured(Warm, Some(0))], 0)[0],
            @"warm did not happen in repeat 1: 0 of 1000 prompt tokens came from the cache, expected some; a backend without a prefix cache has only the phase cold"
        );
    }
}
