//! Sending recorded conversations as load: many at once, at a rate, or when they came in the recording.
//!
//! [`Workload`] is what there is to send, [`schedule`] when each request is meant to begin, [`drive`](run) sends, and a
//! [`Sample`] is what came of one request. Times are counted from the moment at which a request was *meant* to begin: a load
//! generator that is late does not hide a delay by that. A request is never meant to begin before the answer before it in its
//! conversation has ended; how much later than planned that is, is a figure of its own. [`RateSearch`] looks for the highest rate
//! that a backend bears. Prints nothing.

mod backlog;
mod drive;
mod packed;
mod pattern;
mod rate_search;
mod sample;
mod schedule;
mod timeline;
mod workload;

pub use backlog::falls_behind;
pub use drive::run;
pub use pattern::{Arrivals, Pattern, Shard, Start};
pub use rate_search::RateSearch;
pub use sample::{Answered, Budget, Failed, FailureKind, Sample};
pub use schedule::{Dice, PlannedConversation, PlannedTurn, Schedule, schedule};
pub use workload::{Changes, Conversation, CutPauses, Turn, Workload, WorkloadError};

/// The share of the requests that must be within the budget.
pub const ENOUGH_WITHIN_BUDGET: f64 = 0.99;

#[cfg(test)]
mod tests;
