//! The result of a check.

/// The result of a check.
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
