//! What a replay may write to the snapshots folder.

/// What to do with an outcome that is not the accepted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Write it for review.
    Pend,
    /// Accept it.
    Update,
    /// Write nothing.
    Check,
}
