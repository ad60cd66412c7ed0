//! Two finished replays of the same traces: which traces came to something else, and how the figures differ.
//!
//! [`FinishedRun`] is what is read of a replay's JSON file, [`Flips`] which traces the second one lost, won or answers otherwise.

mod figures;
mod flips;
mod json;
mod run;
mod terminal;
#[cfg(test)]
mod tests;

pub use figures::{FigureName, RunFigure};
pub use flips::{Flip, Flips};
pub use json::{Compared, ComparedAnswer, ComparedTrace};
pub use run::{FinishedRun, RunCase, RunTarget};
pub use terminal::to_terminal;
