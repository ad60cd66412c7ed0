//! How likely the model found a token.

use super::likeliest_first::{Candidate, LikeliestFirst};
use crate::wire::TopLogprobs;

/// The log-probability of everything that is less likely, as at OpenAI. A finite number, because JSON has no other.
const LEAST: f64 = -9999.0;

/// The log-probabilities of a sampled token and of the likeliest ones in its place.
///
/// They are the log-softmax of the logits as the model computed them: before temperature and penalties, and before the grammar
/// forbids tokens. So they tell what the model wanted to say, however it was made to speak.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logprobs {
    pub token: u32,
    pub logprob: f64,
    /// Ids with their log-probabilities, the likeliest first. Of equals the lowest id comes first, as in greedy sampling.
    pub top: Vec<(u32, f64)>,
}

impl Logprobs {
    /// The log-probabilities where `token` was sampled. `logits`: one for each token of the model; a NaN counts as impossible.
    pub(super) fn of(logits: &[f32], token: u32, TopLogprobs(count): TopLogprobs) -> Self {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| (f64::from(logit) - f64::from(most)).exp();
        let sum: f64 = logits.iter().filter(|logit| !logit.is_nan()).map(|logit| weight(*logit)).sum();
        let log_sum = f64::from(most) + sum.ln();
        let logprob = |logit: f32| {
            let logprob = f64::from(logit) - log_sum;
            // Rounding can give a little more than 0.
            if logprob.is_nan() { LEAST } else { logprob.clamp(LEAST, 0.0) }
        };
        let top = likeliest(logits, count).into_iter().map(|likely| (likely.id, logprob(likely.logit))).collect();
        Self { token, logprob: logprob(logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)), top }
    }
}

/// The likeliest tokens, as many as asked for.
fn likeliest(logits: &[f32], count: usize) -> Vec<Candidate> {
    if count == 0 {
        return Vec::new();
    }
    let candidates = (0..).zip(logits).map(|(id, logit)| Candidate { id, logit: *logit });
    let mut likeliest = LikeliestFirst::new(candidates.filter(|candidate| candidate.logit > f32::NEG_INFINITY).collect(), count);
    (0..count).map_while(|rank| likeliest.get(rank)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_are_the_log_softmax_of_the_logits() {
        // Probabilities 1/2, 1/4, 1/8, 1/8 and nothing, raised by any constant.
        let logits = [0.125f32, 0.5, 0.25, 0.125, 0.0].map(|p| p.ln() + 300.0);
        let Logprobs { logprob, top, .. } = Logprobs::of(&logits, 2, TopLogprobs(3));
        let near = |logprob: f64, p: f64| (logprob - p.ln()).abs() < 1e-4;
        assert!(near(logprob, 0.25), "{logprob}");
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 0], "the lower id of two equals comes first");
        assert!(near(top[0].1, 0.5) && near(top[1].1, 0.25) && near(top[2].1, 0.125), "{top:?}");
        assert_eq!(Logprobs::of(&logits, 4, TopLogprobs(0)), Logprobs { token: 4, logprob: -9999.0, top: vec![] });
        assert_eq!(Logprobs::of(&logits, 1, TopLogprobs(20)).top.len(), 4, "what is impossible is not among the likeliest");
    }

    #[test]
    fn logits_that_are_no_numbers_leave_finite_ones() {
        for logits in [[f32::NAN, 1.0, 2.0], [f32::NEG_INFINITY; 3], [f32::INFINITY, 0.0, f32::NAN]] {
            for token in 0..4 {
                let Logprobs { logprob, top, .. } = Logprobs::of(&logits, token, TopLogprobs(3));
                assert!(
                    logprob.is_finite() && top.iter().all(|(_, logprob)| logprob.is_finite()),
                    "{logits:?}: {logprob} {top:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_likeliest_come_first_and_are_no_more_than_all(
            logits in prop::collection::vec(prop_oneof![-60f32..60.0, Just(f32::NEG_INFINITY), Just(1.5)], 1..60), token in 0u32..60, count in 0usize..21,
        ) {
            let token = token % logits.len() as u32;
            let Logprobs { logprob, top, .. } = Logprobs::of(&logits, token, TopLogprobs(count));
            let mut sorted: Vec<u32> = (0..logits.len() as u32).filter(|id| logits[*id as usize] > f32::NEG_INFINITY).collect();
            sorted.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            sorted.truncate(count);
            prop_assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), sorted);
            prop_assert!(top.iter().map(|(_, logprob)| logprob.exp()).sum::<f64>() <= 1.0 + 1e-9);
            prop_assert!(top.iter().find(|(id, _)| *id == token).is_none_or(|(_, same)| *same == logprob));
            prop_assert!(logprob <= 0.0);
        }
    }
}
