//! How much may be compiled for one request, and whether anybody still waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;

/// Why nothing more is compiled for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    /// Nobody waits for the answer any more.
    #[error("the client has left")]
    Unwanted,
    /// The request has had its share.
    #[error("the schemas of this request take too long to make grammars of")]
    Spent,
}

impl From<Stop> for EngineError {
    fn from(stop: Stop) -> Self {
        Self::Request(stop.to_string())
    }
}

/// What may still be compiled for one request.
pub(super) struct Budget {
    unwanted: CancellationToken,
    /// What is left, and one: 0 once something was refused.
    left: AtomicUsize,
}

impl Budget {
    /// So many kilobytes of grammars, for a client who has left once it is `unwanted`.
    pub(super) fn new(unwanted: CancellationToken, kilobytes: usize) -> Self {
        Self { unwanted, left: AtomicUsize::new(kilobytes.saturating_add(1)) }
    }

    /// The budget of the same client for what every answer needs, and no schema makes large.
    pub(super) fn of_openings(&self) -> Self {
        Self::new(self.unwanted.clone(), usize::MAX)
    }

    /// Takes what compiling this grammar costs.
    ///
    /// # Errors
    /// So much is not left, or nobody wants it any more.
    pub(super) fn take(&self, grammar: &str) -> Result<(), Stop> {
        let cost = 1 + grammar.len() / 1_000;
        // One thread at a time compiles for a request, so nothing comes between the two steps.
        self.left.store(self.left.load(Ordering::Acquire).saturating_sub(cost), Ordering::Release);
        self.stopped().map_or(Ok(()), Err)
    }

    /// Whether something was not compiled any more, and why.
    pub(super) fn stopped(&self) -> Option<Stop> {
        match (self.unwanted.is_cancelled(), self.left.load(Ordering::Acquire)) {
            (true, _) => Some(Stop::Unwanted),
            (false, 0) => Some(Stop::Spent),
            (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_when_it_is_spent_or_unwanted() {
        let unwanted = CancellationToken::new();
        let budget = Budget::new(unwanted.clone(), 4);
        assert_eq!([budget.take("small"), budget.take(&"x".repeat(2_500))], [Ok(()), Ok(())]);
        assert_eq!(budget.stopped(), None, "all that was asked for was compiled");
        assert_eq!((budget.take("small"), budget.stopped()), (Err(Stop::Spent), Some(Stop::Spent)));
        unwanted.cancel();
        assert_eq!(budget.take("small"), Err(Stop::Unwanted));
    }
}
