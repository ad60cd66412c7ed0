//! Driving recorded traces against a backend in the cold, warm and cached states; comparing and timing the answers.
//!
//! `plan` decides what is sent in which order, `prompt` shapes the requests, `drive` sends them, `retry` sends them again where
//! the backend was busy, and `clock` times the events of their answers. `check` finds the states that did not happen,
//! `acceptance` has the accepted outcomes with the rules under which others are equal to them, `compare` compares the answers
//! with each other and with the recorded one, `difference` names what differs from the accepted one at
//! which `place`, and `header` what else is not as it was then. [`Replayer`] does all of it for one case, and [`Kind`] has the
//! names. [`ask_again`] asks one recorded request, for tests of other projects. Only `drive` and the replayer do I/O. Prints
//! nothing: results are plain data.

mod acceptance;
mod align;
mod ask_again;
mod check;
mod clock;
mod compare;
mod difference;
mod drive;
mod failure;
mod finding;
mod free_fidelity;
mod header;
mod json_difference;
mod kind;
mod learn;
mod margins;
mod measurement;
mod phase;
mod place;
mod plan;
mod policy;
mod prompt;
mod replayer;
mod result;
mod retry;
mod settings;
#[cfg(test)]
pub mod testing;

pub use acceptance::{Acceptance, Nearest};
pub use align::{Pair, align};
pub use ask_again::{AskAgainError, ask_again};
pub use check::{PhaseFailure, PhaseReason, check};
pub use compare::{Agreement, Disagreement, Fidelity, MalformedArguments, agreement, disagreements, malformed_arguments};
pub use difference::differences;
pub use drive::{Driver, StateControl};
pub use failure::Failure;
pub use finding::Finding;
pub use free_fidelity::{CallFidelity, FreeFidelity};
pub use header::header_changes;
pub use json_difference::{JsonDifference, json_differences};
pub use kind::Kind;
pub use learn::Learnt;
pub use margins::{KnownAnswers, Margins};
pub use measurement::{Measurement, MeasurementLabel, tpot_us};
pub use phase::Phase;
pub use place::{Step, member, steps_of, value_at};
pub(crate) use plan::betas_of;
pub use plan::{Plan, PlanError, ReplayCase, ReplayStep, Skip, steps};
pub use policy::Policy;
pub use prompt::{ToolChoiceMode, last_user_turn, one_line};
pub use replayer::{CaseEnding, Replayer};
pub use result::{CaseResult, ReplaySummary, SkippedTrace, Status, Untested, Verdict};
pub use settings::{DEFAULT_RETRIES, FidelityMode, FlakyPolicy, ReplaySettings};
