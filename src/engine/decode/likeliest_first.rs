//! The candidates for the next token, the likeliest first, sorted no further than somebody looks.
//!
//! A vocabulary has some 150,000 tokens and a draw rarely goes beyond the first hundred. Sorting them all would take longer than
//! a large model's step on a GPU.

/// How many candidates are sorted at first.
const FIRST_STRETCH: usize = 64;

/// By how much the sorted part grows each time.
const GROWTH: usize = 8;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub id: u32,
    pub logit: f32,
}

impl Candidate {
    /// The order of likelihood. Of equals the lower id comes first.
    pub(super) fn likelier_first(&self, other: &Self) -> std::cmp::Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// Candidates that are sorted as far as they were asked for.
#[derive(Debug)]
pub(super) struct LikeliestFirst {
    candidates: Vec<Candidate>,
    /// How many of the first are sorted for good.
    sorted: usize,
}

impl LikeliestFirst {
    /// The likeliest `k` of some candidates; all of them if `k` is 0.
    pub(super) fn new(mut candidates: Vec<Candidate>, k: usize) -> Self {
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, Candidate::likelier_first);
            candidates.truncate(k);
        }
        Self { candidates, sorted: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// All of them, in the order in which they happen to be.
    pub(super) fn unordered(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The one of this rank: 0 for the likeliest.
    pub(super) fn get(&mut self, rank: usize) -> Option<Candidate> {
        while rank >= self.sorted && self.sorted < self.candidates.len() {
            self.sort_further();
        }
        self.candidates.get(rank).copied()
    }

    fn sort_further(&mut self) {
        let unsorted = &mut self.candidates[self.sorted..];
        let stretch = unsorted.len().min(FIRST_STRETCH.max(self.sorted * (GROWTH - 1)));
        if stretch < unsorted.len() {
            unsorted.select_nth_unstable_by(stretch - 1, Candidate::likelier_first);
        }
        unsorted[..stretch].sort_unstable_by(Candidate::likelier_first);
        self.sorted += stretch;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_sorting_all(logits in prop::collection::vec(-9i8..9, 0..2000), k in 0usize..2100) {
            let candidates: Vec<Candidate> =
                logits.iter().zip(0..).map(|(logit, id)| Candidate { id, logit: f32::from(*logit) }).collect();
            let mut all = candidates.clone();
            all.sort_by(Candidate::likelier_first);
            all.truncate(if k == 0 { all.len() } else { k });
            let mut likeliest = LikeliestFirst::new(candidates, k);
            prop_assert_eq!(likeliest.len(), all.len());
            let first: Vec<Candidate> = (0..70).map_while(|rank| likeliest.get(rank)).collect();
            prop_assert_eq!(&first[..], &all[..all.len().min(70)]);
            prop_assert!(likeliest.sorted <= FIRST_STRETCH * GROWTH || all.len() <= FIRST_STRETCH * GROWTH);
            let rest: Vec<Candidate> = (0..all.len()).map_while(|rank| likeliest.get(rank)).collect();
            prop_assert_eq!(rest, all);
        }
    }
}
