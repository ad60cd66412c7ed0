//! Replays of the same traces on several backends, side by side: a table with a column for each, and the exchanges that they do
//! not answer alike.

mod answers;
mod render;
mod table;

use schemars::JsonSchema;
use serde::Serialize;

pub use answers::{ExchangeAnswers, SharedAnswer};
pub(super) use render::{answer_line, summary, verdict_of_all};
pub use render::{problems_of_all, to_terminal};
pub(super) use table::figures;

use super::Report;

/// Version of the JSON layout of several backends. The report of each has the version of its own layout.
const VERSION: u32 = 1;

/// Replays of the same traces on several backends. Serialized, it is the JSON file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Backends<'a> {
    /// The version of this layout.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// A replay for each backend, in the order in which they were given.
    pub backends: Vec<NamedReport<'a>>,
    /// The exchanges that were answered differently by two of them, or not as accepted by one.
    pub differing: Vec<ExchangeAnswers>,
}

/// The replay on one of several backends.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NamedReport<'a> {
    /// The name of the backend's column.
    pub name: String,
    /// What was found out.
    pub report: Report<'a>,
}

impl<'a> Backends<'a> {
    /// Puts these replays side by side.
    pub fn new(backends: Vec<NamedReport<'a>>) -> Self {
        let differing = answers::differing(&backends);
        Self { version: VERSION, backends, differing }
    }

    /// The exit code of the worst: 3 comes before 1, and 1 before 4.
    pub fn exit_code(&self) -> u8 {
        let codes: Vec<u8> = self.backends.iter().map(|backend| backend.report.summary.exit_code()).collect();
        [3, 1, 4].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
    }

    /// The JSON file: the whole report of each backend, and where they differ.
    pub fn to_json(&self) -> String {
        // String-keyed maps, strings and numbers only: serializing them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests;
