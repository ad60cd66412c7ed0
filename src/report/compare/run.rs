//! A finished replay, as its JSON file has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::replay::{Finding, Phase, Status, tpot_us};
use crate::report::figures_file::read;
use crate::report::{FiguresError, FiguresKind, VERSION};
use crate::snapshot::Outcome;

/// A finished replay.
#[derive(Clone, Debug, Deserialize)]
pub struct FinishedRun {
    pub(super) target: RunTarget,
    /// How it was asked.
    pub(super) settings: Map<String, Value>,
    pub(super) cases: Vec<RunCase>,
    untested: RunUntested,
}

/// What was not replayed.
#[derive(Clone, Debug, Deserialize)]
struct RunUntested {
    /// Planned, and never started.
    not_run: Vec<String>,
}

/// What a replay was driven against.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunTarget {
    /// `mlx`, or the server's base URL.
    pub backend: String,
    /// The model's name.
    pub model: String,
    /// The machine on which the times were taken.
    pub host: String,
}

/// What came of one trace.
#[derive(Clone, Debug, Deserialize)]
pub struct RunCase {
    /// The trace's name.
    pub id: String,
    /// The result in one word.
    pub status: Status,
    /// What is not as it should be or as before, the most important first.
    pub findings: Vec<Finding>,
    pub(super) measurements: Vec<RunMeasurement>,
    phase_failures: Vec<Label>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RunMeasurement {
    #[serde(flatten)]
    label: Label,
    pub ttft_us: Option<u64>,
    e2e_us: u64,
    pub prompt_tokens: u64,
    pub cache_read_tokens: Option<u64>,
    output_tokens: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Label {
    phase: Phase,
    repeat: u32,
}

impl FinishedRun {
    /// Reads the `--json` of a replay.
    ///
    /// # Errors
    /// It is none, or of another version, or of several backends.
    pub fn parse(text: &str) -> Result<Self, FiguresError> {
        read(text, FiguresKind::Replay, VERSION)
    }

    /// Whether it did all that was planned: it was not stopped, and had something to do.
    pub(super) fn is_finished(&self) -> bool {
        let is_whole = self.untested.not_run.is_empty() && self.cases.iter().all(|case| case.status != Status::Interrupted);
        is_whole && !self.cases.is_empty()
    }
}

impl RunCase {
    /// The outcome that came most often, and of several the first; `None` if nothing was measured.
    pub(super) fn usual(&self) -> Option<&Outcome> {
        let outcomes = || self.measurements.iter().map(|one| &one.outcome);
        // The last of equal maxima is taken, so the first is last here.
        outcomes().rev().max_by_key(|one| outcomes().filter(|other| other == one).count())
    }

    /// The measurements of a phase whose times count.
    pub(super) fn valid(&self, phase: Phase) -> impl Iterator<Item = &RunMeasurement> {
        let is_valid = move |one: &&RunMeasurement| one.label.phase == phase && !self.phase_failures.contains(&one.label);
        self.measurements.iter().filter(is_valid)
    }

    /// The most important thing that was found, notices aside.
    pub(super) fn finding(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| !finding.kind.is_notice())
    }
}

impl RunMeasurement {
    pub(super) fn tpot_us(&self) -> Option<u64> {
        tpot_us(self.ttft_us, self.e2e_us, self.output_tokens)
    }
}
