//! Driving recorded traces against a backend in the cold, warm and cached states; comparing and timing the answers.
//!
//! `plan` decides what is sent in which order, `prompt` shapes the requests, `drive` sends them and `clock` times the events of their
//! answers. `check` finds the states that did not happen, `compare` compares the answers with each other and with the recorded
//! one, and [`Replayer`] does all of it for one case. Only `drive` and the replayer do I/O. Prints nothing: results are plain
//! data.

mod check;
mod clock;
mod compare;
mod drive;
mod measurement;
mod phase;
mod plan;
mod policy;
mod prompt;
mod replayer;
mod result;
#[cfg(test)]
pub mod testing;

pub use check::{PhaseFailure, PhaseReason, check};
pub use compare::{Disagreement, Fidelity, MalformedArguments, disagreements, malformed_arguments};
pub use drive::{Driver, StateControl};
pub use measurement::{Measurement, MeasurementLabel};
pub use phase::Phase;
pub use plan::{Plan, PlanError, ReplayCase, ReplaySettings, ReplayStep, Skip, steps};
pub use policy::Policy;
pub use prompt::{ToolChoiceMode, last_user_turn, one_line};
pub use replayer::{CaseEnding, Replayer};
pub use result::{CaseResult, ReplaySummary, Status, UnreadableTrace, Untested, Verdict};
