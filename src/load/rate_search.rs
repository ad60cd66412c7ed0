//! The search for the highest rate that a backend bears. Pure: the caller says what came of each rate.

use super::ENOUGH_WITHIN_BUDGET;

/// How near the two ends of the search come before it ends, as a ratio.
const NEAR: f64 = 1.05;

/// The most rates that are tried.
const MOST_TRIES: usize = 16;

/// After how many rates, each half of the one before, a backend is taken to bear none.
const MOST_HALVINGS: usize = 8;

/// Looks for the highest rate at which 99% of the requests are within their budget: first twice as high again and again, or half
/// as high, then between the highest that went well and the lowest that did not.
#[derive(Clone, Debug)]
pub struct RateSearch {
    next: f64,
    good: Option<f64>,
    bad: Option<f64>,
    tries: usize,
}

impl RateSearch {
    /// A search that begins here.
    pub fn from(per_s: f64) -> Self {
        Self { next: per_s, good: None, bad: None, tries: 0 }
    }

    /// The rate to try next; `None` when it is found.
    pub fn next(&self) -> Option<f64> {
        let near = self.good.zip(self.bad).is_some_and(|(good, bad)| bad / good <= NEAR);
        let most = if self.good.is_none() { MOST_HALVINGS } else { MOST_TRIES };
        (!near && self.tries < most).then_some(self.next)
    }

    /// Takes in the share of the requests that was within the budget at the last rate, and whether the backend kept up with it.
    pub fn tried(&mut self, share: f64, kept_up: bool) {
        self.tries += 1;
        match kept_up && share >= ENOUGH_WITHIN_BUDGET {
            true => self.good = Some(self.next),
            false => self.bad = Some(self.next),
        }
        self.next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that went well.
    pub fn found(&self) -> Option<f64> {
        self.good
    }

    /// The lowest rate that did not.
    pub fn too_much(&self) -> Option<f64> {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_from_below_and_from_above() {
        for (start, limit) in [(1.0, 37.0), (100.0, 0.9), (8.0, 8.0)] {
            let mut search = RateSearch::from(start);
            while let Some(rate) = search.next() {
                search.tried(if rate <= limit { 1.0 } else { 0.98 }, true);
            }
            let found = search.found().unwrap();
            assert!(found <= limit && found * NEAR >= limit, "{found} for {limit}");
        }
    }

    #[test]
    fn a_backend_that_bears_nothing_ends_the_search() {
        let mut search = RateSearch::from(4.0);
        while search.next().is_some() {
            search.tried(0.0, true);
        }
        assert_eq!((search.found(), search.tries), (None, MOST_HALVINGS));
    }

    #[test]
    fn a_rate_that_the_backend_does_not_keep_up_with_is_too_much() {
        let mut search = RateSearch::from(4.0);
        search.tried(1.0, true);
        search.tried(1.0, false);
        assert_eq!((search.found(), search.too_much()), (Some(4.0), Some(8.0)));
    }
}
