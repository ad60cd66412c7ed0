//! Drafts: guesses of what an answer goes on with, copied from where its last tokens came up before, in the prompt or in the
//! answer. An answer that quotes a file says much that was said before.
//!
//! Owns when to guess, and how much. Whether a guess is right is for the model to say, which computes all of it in one pass.

use std::ops::Range;

/// Fewest tokens that must have come up before.
const MATCH: usize = 3;

/// Places looked at in one go.
const TOGETHER: usize = 256;

/// Most that are compared.
const LONG_MATCH: usize = 32;

/// Tokens copied at first: with the one before them so many that a pass takes little longer than for one.
const FIRST: usize = 3;

/// Most tokens copied.
pub const MOST: usize = 7;

/// Most steps without a guess after wrong ones.
const LONGEST_PAUSE: usize = 31;

/// When to guess, and how much: more where guesses are right, less and less often where they are wrong.
#[derive(Debug)]
pub struct Drafts {
    length: usize,
    /// Steps to leave out after the next wrong guess.
    pause: usize,
    /// Steps still to leave out.
    wait: usize,
}

impl Default for Drafts {
    fn default() -> Self {
        Self { length: FIRST, pause: 1, wait: 0 }
    }
}

impl Drafts {
    /// At most so many tokens that may follow `tokens` and `next`; none, if it is not worth a guess.
    pub fn copy(&mut self, tokens: &[u32], next: u32, most: usize) -> Vec<u32> {
        if self.wait > 0 {
            self.wait -= 1;
            return vec![];
        }
        following(tokens, next, most.min(self.length))
    }

    /// Learns how many tokens of a copy were right.
    pub fn judge(&mut self, copied: usize, right: usize) {
        if right == copied {
            self.length = (2 * self.length + 1).min(MOST);
        } else {
            self.length = right.max(FIRST);
        }
        // A row is not free: without kernels of ours it costs up to half a step, where attention over a long prompt is most of it.
        if 2 * right < copied {
            self.wait = self.pause;
            self.pause = (2 * self.pause + 1).min(LONGEST_PAUSE);
        } else {
            self.pause = 1;
        }
    }
}

/// What came after the longest earlier run of tokens that ends as `tokens` and `next` do; the latest of equally long ones.
fn following(tokens: &[u32], next: u32, length: usize) -> Vec<u32> {
    let [.., before_last, last] = *tokens else { return vec![] };
    let (mut longest, mut found) = (0, None);
    for at in ends_of(tokens, [before_last, last, next]) {
        let before = tokens[..at].iter().rev().zip(tokens.iter().rev()).take(LONG_MATCH);
        let run = 1 + before.take_while(|(a, b)| a == b).count();
        if run > longest {
            (longest, found) = (run, Some(at));
        }
    }
    // At the end it starts over: what goes round in circles goes on so.
    let follows = |at: usize| tokens[at + 1..].iter().copied().chain([next]).cycle().take(length).collect();
    found.map_or_else(Vec::new, follows)
}

/// Where these tokens come up one after the other, the latest first: places of the last of them.
///
/// Goes through a long prompt at every step, so it looks at many places in one go: without branches between them, several
/// are one instruction.
fn ends_of(tokens: &[u32], wanted: [u32; MATCH]) -> impl Iterator<Item = usize> {
    let starts = tokens.len().saturating_sub(MATCH - 1);
    let shifted = [0, 1, 2].map(|by| tokens.get(by..by + starts).unwrap_or_default());
    let found = move |places: Range<usize>| {
        let [first, second, third] = shifted.map(|tokens| &tokens[places.clone()]);
        let is_one = move |((a, b), c): ((&u32, &u32), &u32)| (*a == wanted[0]) & (*b == wanted[1]) & (*c == wanted[2]);
        first.iter().zip(second).zip(third).map(is_one)
    };
    let groups = (0..starts).step_by(TOGETHER).rev().map(move |start| start..starts.min(start + TOGETHER));
    let groups = groups.filter(move |places| found(places.clone()).fold(false, |any, one| any | one));
    let ends = move |places: Range<usize>| places.clone().zip(found(places)).rev().filter(|(_, one)| *one);
    groups.flat_map(ends).map(|(start, _)| start + MATCH - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_place_is_found(tokens in prop::collection::vec(0u32..3, 0..3 * TOGETHER), wanted in prop::array::uniform3(0u32..3)) {
            let all = (2..tokens.len()).rev().filter(|end| tokens[end - 2..=*end] == wanted);
            prop_assert_eq!(ends_of(&tokens, wanted).collect::<Vec<_>>(), all.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_followed_the_longest_earlier_run_is_copied() {
        let cases: [(&[u32], u32, &[u32]); 6] = [
            (&[1, 2, 3, 4, 5, 1, 2], 3, &[4, 5, 1, 2]),
            (&[1, 2, 3, 4, 5, 9, 2], 3, &[]), // two in common are too few
            (&[7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 7, 1, 2], 3, &[4, 8, 1, 2]), // the longer run counts
            (&[1, 2, 3, 4, 1, 2, 3, 5, 1, 2], 3, &[5, 1, 2, 3]), // then the later one
            (&[6, 6, 6], 6, &[6, 6, 6, 6]),   // what goes round in circles goes on
            (&[], 1, &[]),
        ];
        for (tokens, next, copied) in cases {
            assert_eq!(following(tokens, next, 4), copied, "{tokens:?} {next}");
        }
    }

    #[test]
    fn right_guesses_make_longer_ones_and_wrong_ones_fewer() {
        let tokens: Vec<u32> = [vec![1, 2, 3], vec![9; 100], vec![1, 2]].concat();
        let mut drafts = Drafts::default();
        let steps = |drafts: &mut Drafts, right: fn(usize) -> usize| {
            let mut lengths = Vec::new();
            for _ in 0..10 {
                let copied = drafts.copy(&tokens, 3, MOST).len();
                if copied > 0 {
                    drafts.judge(copied, right(copied));
                }
                lengths.push(copied);
            }
            lengths
        };
        assert_eq!(steps(&mut drafts, |all| all), [3, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(steps(&mut drafts, |_| 0), [7, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(steps(&mut drafts, |_| 2), [0, 0, 0, 0, 3, 3, 3, 3, 3, 3]);
    }
}
