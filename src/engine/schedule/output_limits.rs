//! Limits on an answer's length, however much room its request leaves: a request for a title may ask for 128,000 tokens, and
//! small models get caught in repeating themselves.

use std::num::NonZeroUsize;

use super::generation::EndReason;

/// How often the tokens under watch must hold the same stretch of tokens to count as a repetition. A table of zeros or a long
/// list of similar lines is no repetition for as long as it is shorter than the limit.
const MIN_ROUNDS: usize = 8;

/// Limits of every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Most tokens of an answer; `None`: as many as its request asks for.
    pub tokens: Option<NonZeroUsize>,
    /// An answer ends once about this many tokens in a row are the same few tokens again and again; `None`: it goes on.
    pub repeated: Option<NonZeroUsize>,
}

impl Default for OutputLimits {
    /// Room for the longest file that a model of a laptop writes in one go; and about a minute of repetition on such a machine.
    fn default() -> Self {
        Self { tokens: NonZeroUsize::new(32_768), repeated: NonZeroUsize::new(2_048) }
    }
}

/// Applies the limits to one answer as it grows.
pub(super) struct OutputWatch {
    limits: OutputLimits,
    /// The answer's length at which to look for a repetition again, in tokens. Looking costs time, so it is done now and then.
    next_look: usize,
}

impl OutputWatch {
    /// Watches an answer that has no tokens yet.
    pub(super) fn new(limits: OutputLimits) -> Self {
        Self { limits, next_look: 0 }
    }

    /// Whether an answer of so many tokens is as long as an answer may be.
    pub(super) fn is_full(&self, output_tokens: usize) -> bool {
        self.limits.tokens.is_some_and(|most| output_tokens >= most.get())
    }

    /// Why the answer must end: these tokens end with a repetition that is too long.
    pub(super) fn repetition(&mut self, answer: &[u32]) -> Option<EndReason> {
        let watched = self.limits.repeated?.get();
        if answer.len() < watched.max(self.next_look) {
            return None;
        }
        self.next_look = answer.len() + watched.div_ceil(MIN_ROUNDS);
        let period = smallest_period(&answer[answer.len() - watched..]);
        (period * MIN_ROUNDS <= watched).then_some(EndReason::Repetition { period })
    }
}

/// The smallest distance, at least 1, at which the tokens repeat themselves: each token equals the one so far before it. Takes
/// time linear in their number (the prefix function of Knuth, Morris and Pratt).
fn smallest_period(tokens: &[u32]) -> usize {
    // For each end, the length of the longest proper prefix that is also the suffix there.
    let mut borders = vec![0; tokens.len()];
    let mut border = 0;
    for end in 1..tokens.len() {
        while border > 0 && tokens[end] != tokens[border] {
            border = borders[border - 1];
        }
        border += usize::from(tokens[end] == tokens[border]);
        borders[end] = border;
    }
    (tokens.len() - border).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(repeated: usize) -> OutputWatch {
        OutputWatch::new(OutputLimits { tokens: None, repeated: NonZeroUsize::new(repeated) })
    }

    /// The length at which an answer that grows by these tokens is ended, and the period of its repetition.
    fn ended(repeated: usize, tokens: impl IntoIterator<Item = u32>) -> Option<(usize, usize)> {
        let (mut watch, mut answer) = (watch(repeated), Vec::new());
        tokens.into_iter().find_map(|token| {
            answer.push(token);
            match watch.repetition(&answer)? {
                EndReason::Repetition { period } => Some((answer.len(), period)),
                other => panic!("{other:?}"),
            }
        })
    }

    #[test]
    fn an_answer_that_repeats_itself_ends_soon_after_the_limit() {
        assert_eq!(ended(64, std::iter::repeat_n(7, 1_000)), Some((64, 1)));
        // A hundred tokens of sense, then three tokens again and again.
        let (length, period) = ended(64, (100..200).chain((0..1_000).map(|n| n % 3))).unwrap();
        assert_eq!(period, 3);
        assert!((164..=172).contains(&length), "{length}");
    }

    #[test]
    fn what_only_looks_alike_goes_on() {
        // Counting up, and lines that differ in one token.
        assert_eq!(ended(64, 0..1_000), None);
        assert_eq!(ended(64, (0..1_000).map(|n| if n % 5 == 0 { n } else { 1 })), None);
        // Too few rounds: a period of 9 fits into 64 tokens seven times.
        assert_eq!(ended(64, (0..1_000).map(|n| n % 9)), None);
        // A repetition shorter than the limit.
        assert_eq!(ended(64, (0..200).chain(std::iter::repeat_n(7, 60)).chain(200..400)), None);
        let never = OutputLimits { tokens: None, repeated: None };
        assert_eq!(OutputWatch::new(never).repetition(&[7; 10_000]), None);
    }

    #[test]
    fn an_answer_is_full_at_the_limit() {
        let watch = OutputWatch::new(OutputLimits { tokens: NonZeroUsize::new(3), repeated: None });
        assert_eq!([2, 3, 4].map(|tokens| watch.is_full(tokens)), [false, true, true]);
    }

    proptest! {
        #[test]
        fn the_smallest_period_is_the_one_found_by_trying(tokens in proptest::collection::vec(0u32..3, 1..40)) {
            let tried = (1..=tokens.len()).find(|&period| tokens[period..] == tokens[..tokens.len() - period]);
            prop_assert_eq!(smallest_period(&tokens), tried.unwrap());
        }
    }
}
