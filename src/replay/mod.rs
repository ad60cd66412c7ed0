//! Driving recorded traces against a backend in the cold, warm and cached states; comparing and timing the answers.
//!
//! [`plan`] decides what is run in which order (pure), [`prompt`] shapes the requests (pure), [`drive`] runs them, [`check`]
//! tells whether the states really happened (pure), [`compare`] holds the answers against snapshot, recording and each other
//! (pure), and [`Session`] does all of it for one case. Prints nothing: results are plain data for `report`.

mod check;
mod clock;
mod compare;
mod drive;
mod plan;
mod prompt;
mod result;
mod session;

pub use check::{PhaseFailure, PhaseReason, check};
pub use compare::{Disagreement, Fidelity, disagreements};
pub use drive::{Driver, StateControl};
pub use plan::{Case, Plan, PlanError, Settings, Skip, Step, steps};
pub use prompt::{ToolChoiceMode, last_user_turn, one_line};
pub use result::{CaseResult, Run, Status, Summary, Verdict};
pub use session::{Ending, Policy, Session};

use serde::Serialize;

/// The state of the prefix cache in which a request is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing of the prompt is cached.
    Cold,
    /// The tools and the system prompt are cached, the conversation is not.
    Warm,
    /// The prompt up to the last turn is cached.
    Cached,
}

impl Phase {
    /// All phases, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Cold, Self::Warm, Self::Cached];

    /// The phase's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Cached => "cached",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(self.name())
    }
}
