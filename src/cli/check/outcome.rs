//! What a check came to.

/// What a check came to.
pub(super) enum CheckOutcome {
    Passed,
    Failed,
}

impl CheckOutcome {
    /// Passed or failed.
    pub(super) fn passed_if(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}
