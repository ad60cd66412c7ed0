//! Prompt-lookup speculative decoding (Saxena 2023): drafts copied from where the last tokens occurred before, in the prompt or
//! in the answer. No second model is needed, and an answer that quotes a file repeats much of the prompt.
//!
//! Decides when to draft and how much. The model verifies a draft by computing all of its tokens in one forward pass.

use std::ops::Range;

use crate::engine::model::MAX_ROW_EXACT;

/// Fewest tokens that must have occurred before.
const MIN_MATCH: usize = 3;

/// Most tokens that are compared to find the longest match.
const MAX_MATCH: usize = 32;

/// Positions compared at a time in the search for a match.
const SCAN_WIDTH: usize = 256;

/// Length of the first draft: a pass over it and the token before it takes little longer than one over a single token.
const FIRST_DRAFT_TOKENS: usize = 3;

/// Most tokens of a draft.
pub(super) const MAX_DRAFT_TOKENS: usize = 7;

/// Most steps without a draft after rejected ones.
const MAX_PAUSE: usize = 31;

// A draft and the token before it are computed in a row-exact pass: otherwise a draft would change the answer's bits.
const _: () = assert!(MAX_DRAFT_TOKENS < MAX_ROW_EXACT);

/// Proposes drafts, longer ones while they are accepted, and fewer while they are rejected.
#[derive(Debug)]
pub(super) struct PromptLookup {
    /// Length of the next draft.
    length: usize,
    /// Steps to skip after the next rejected draft.
    pause: usize,
    /// Steps still to skip.
    wait: usize,
}

impl Default for PromptLookup {
    fn default() -> Self {
        Self { length: FIRST_DRAFT_TOKENS, pause: 1, wait: 0 }
    }
}

impl PromptLookup {
    /// At most `most` tokens that may follow `tokens` and `next`; none if nothing matches or this step is skipped.
    pub(super) fn propose(&mut self, tokens: &[u32], next: u32, most: usize) -> Vec<u32> {
        if self.wait > 0 {
            self.wait -= 1;
            return vec![];
        }
        following(tokens, next, most.min(self.length))
    }

    /// Adapts to how many tokens of a draft were accepted.
    pub(super) fn adapt(&mut self, drafted: usize, accepted: usize) {
        if accepted == drafted {
            self.length = (2 * self.length + 1).min(MAX_DRAFT_TOKENS);
        } else {
            self.length = accepted.max(FIRST_DRAFT_TOKENS);
        }
        // A rejected token is not free: without our kernels, with attention over a long prompt, it costs up to half a step.
        if 2 * accepted < drafted {
            self.wait = self.pause;
            self.pause = (2 * self.pause + 1).min(MAX_PAUSE);
        } else {
            self.pause = 1;
        }
    }
}

/// The `length` tokens that followed the longest earlier match of the end of `tokens` and `next`; of equally long matches, the
/// latest.
fn following(tokens: &[u32], next: u32, length: usize) -> Vec<u32> {
    let [.., before_last, last] = *tokens else { return vec![] };
    let (mut longest, mut found) = (0, None);
    for at in ends_of(tokens, [before_last, last, next]) {
        let before = tokens[..at].iter().rev().zip(tokens.iter().rev()).take(MAX_MATCH);
        let matching = 1 + before.take_while(|(a, b)| a == b).count();
        if matching > longest {
            (longest, found) = (matching, Some(at));
        }
    }
    // Beyond `next` the copy starts over: text that repeats itself goes on repeating.
    let follows = |at: usize| tokens[at + 1..].iter().copied().chain([next]).cycle().take(length).collect();
    found.map_or_else(Vec::new, follows)
}

/// The positions of the last of `wanted` wherever these tokens occur in a row, the latest first.
///
/// Runs over a long prompt at every step, so it compares [`SCAN_WIDTH`] positions without a branch: the compiler turns that
/// into vector instructions.
fn ends_of(tokens: &[u32], wanted: [u32; MIN_MATCH]) -> impl Iterator<Item = usize> {
    let starts = tokens.len().saturating_sub(MIN_MATCH - 1);
    let shifted = [0, 1, 2].map(|by| tokens.get(by..by + starts).unwrap_or_default());
    let found = move |positions: Range<usize>| {
        let [first, second, third] = shifted.map(|tokens| &tokens[positions.clone()]);
        let matches = move |((a, b), c): ((&u32, &u32), &u32)| (*a == wanted[0]) & (*b == wanted[1]) & (*c == wanted[2]);
        first.iter().zip(second).zip(third).map(matches)
    };
    let groups = (0..starts).step_by(SCAN_WIDTH).rev().map(move |start| start..starts.min(start + SCAN_WIDTH));
    let groups = groups.filter(move |positions| found(positions.clone()).fold(false, |any, one| any | one));
    let ends = move |positions: Range<usize>| positions.clone().zip(found(positions)).rev().filter(|(_, one)| *one);
    groups.flat_map(ends).map(|(start, _)| start + MIN_MATCH - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_is_found(tokens in prop::collection::vec(0u32..3, 0..3 * SCAN_WIDTH), wanted in prop::array::uniform3(0u32..3)) {
            let all = (2..tokens.len()).rev().filter(|end| tokens[end - 2..=*end] == wanted);
            prop_assert_eq!(ends_of(&tokens, wanted).collect::<Vec<_>>(), all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_draft_is_what_followed_the_longest_earlier_match() {
        let cases: [(&[u32], u32, &[u32]); 6] = [
            (&[1, 2, 3, 4, 5, 1, 2], 3, &[4, 5, 1, 2]),
            (&[1, 2, 3, 4, 5, 9, 2], 3, &[]), // two matching tokens are too few
            (&[7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 7, 1, 2], 3, &[4, 8, 1, 2]), // the longest match wins
            (&[1, 2, 3, 4, 1, 2, 3, 5, 1, 2], 3, &[5, 1, 2, 3]), // then the latest
            (&[6, 6, 6], 6, &[6, 6, 6, 6]),   // what repeats itself goes on
            (&[], 1, &[]),
        ];
        for (tokens, next, draft) in cases {
            assert_eq!(following(tokens, next, 4), draft, "{tokens:?} {next}");
        }
    }

    #[test]
    fn accepted_drafts_make_longer_ones_and_rejected_ones_fewer() {
        let tokens: Vec<u32> = [vec![1, 2, 3], vec![9; 100], vec![1, 2]].concat();
        let mut lookup = PromptLookup::default();
        let steps = |lookup: &mut PromptLookup, accepted: fn(usize) -> usize| {
            let mut lengths = Vec::new();
            for _ in 0..10 {
                let drafted = lookup.propose(&tokens, 3, MAX_DRAFT_TOKENS).len();
                if drafted > 0 {
                    lookup.adapt(drafted, accepted(drafted));
                }
                lengths.push(drafted);
            }
            lengths
        };
        assert_eq!(steps(&mut lookup, |all| all), [3, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(steps(&mut lookup, |_| 0), [7, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(steps(&mut lookup, |_| 2), [0, 0, 0, 0, 3, 3, 3, 3, 3, 3]);
    }
}
