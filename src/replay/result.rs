//! What came of a replay, as plain data.

use std::path::PathBuf;

use serde::Serialize;

use super::{Disagreement, Fidelity, Phase, PhaseFailure};
use crate::snapshot::{ExchangeId, Outcome};

/// One timed request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub phase: Phase,
    /// From 1.
    pub repeat: u32,
    /// Request sent to first content event; `None` where the answer had no content.
    pub ttft_us: Option<u64>,
    /// Request sent to `message_stop`.
    pub e2e_us: u64,
    /// Gaps between content events.
    pub itl_us: Vec<u64>,
    pub prompt_tokens: u64,
    /// Prompt tokens read from the prefix cache; `None` where the backend reports no cache figures.
    pub cache_read_tokens: Option<u64>,
    pub output_tokens: u64,
    pub outcome: Outcome,
}

/// How a case's outcome stands to its accepted snapshot.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    AsAccepted,
    /// Another outcome is accepted: this one.
    Changed {
        accepted: Outcome,
    },
    /// Nothing is accepted yet.
    New,
    /// The outcome was written as the accepted one, as the user asked.
    Updated,
    /// The case was not finished, so nothing was compared.
    Unfinished,
}

/// Everything about one replayed trace.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    pub id: ExchangeId,
    pub trace: PathBuf,
    /// Where the accepted snapshot is, or would be.
    pub snapshot: PathBuf,
    /// Where the outcome waits for review, if it does.
    pub pending: Option<PathBuf>,
    pub runs: Vec<Run>,
    pub verdict: Verdict,
    /// Runs whose answers differ: cache failures.
    pub disagreements: Vec<Disagreement>,
    pub phase_failures: Vec<PhaseFailure>,
    /// What the backend failed with.
    pub error: Option<String>,
    /// `None` where the recorded answer or ours is not known.
    pub fidelity: Option<Fidelity>,
}

/// What a case comes to, in one word. Where several hold, the first in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The backend failed.
    Failed,
    /// A phase did not happen.
    PhaseFailure,
    /// The phases or repeats gave different blocks.
    CacheFailure,
    Changed,
    New,
    Updated,
    AsAccepted,
    /// The user stopped it.
    Interrupted,
}

impl CaseResult {
    /// The one word for the case.
    pub fn status(&self) -> Status {
        match &self.verdict {
            _ if self.error.is_some() => Status::Failed,
            _ if !self.phase_failures.is_empty() => Status::PhaseFailure,
            _ if !self.disagreements.is_empty() => Status::CacheFailure,
            Verdict::AsAccepted => Status::AsAccepted,
            Verdict::Changed { .. } => Status::Changed,
            Verdict::New => Status::New,
            Verdict::Updated => Status::Updated,
            Verdict::Unfinished => Status::Interrupted,
        }
    }

    /// The outcome that is held against the snapshot: the first run's.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.runs.first().map(|run| &run.outcome)
    }

    /// The runs whose phase really happened, as far as the backend tells: those whose times count.
    pub fn valid_runs(&self) -> impl Iterator<Item = &Run> {
        let failed = |run: &Run| self.phase_failures.iter().any(|f| (f.phase, f.repeat) == (run.phase, run.repeat));
        self.runs.iter().filter(move |run| !failed(run))
    }
}

/// How many cases came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub as_accepted: usize,
    pub changed: usize,
    pub new: usize,
    pub updated: usize,
    pub cache_failures: usize,
    pub phase_failures: usize,
    pub failed: usize,
    pub interrupted: usize,
    /// Planned, and never started.
    pub not_run: usize,
    /// Traces that cannot be replayed.
    pub skipped: usize,
}

impl Summary {
    /// Counts the results; `planned` cases were to be run.
    pub fn new(results: &[CaseResult], planned: usize, skipped: usize) -> Self {
        let mut summary = Self { skipped, not_run: planned - results.len().min(planned), ..Self::default() };
        for result in results {
            let count = match result.status() {
                Status::Failed => &mut summary.failed,
                Status::PhaseFailure => &mut summary.phase_failures,
                Status::CacheFailure => &mut summary.cache_failures,
                Status::Changed => &mut summary.changed,
                Status::New => &mut summary.new,
                Status::Updated => &mut summary.updated,
                Status::AsAccepted => &mut summary.as_accepted,
                Status::Interrupted => &mut summary.interrupted,
            };
            *count += 1;
        }
        summary
    }

    /// The exit code these counts ask for: 3 where figures are missing, 1 where tool calling is not as accepted, else 0.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if self.failed + self.phase_failures > 0 => 3,
            _ if self.changed + self.new + self.cache_failures > 0 => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_worst() {
        let base = Summary { as_accepted: 3, updated: 1, skipped: 2, ..Summary::default() };
        let table = [
            (base.clone(), 0),
            (Summary { changed: 1, ..base.clone() }, 1),
            (Summary { new: 1, ..base.clone() }, 1),
            (Summary { cache_failures: 1, ..base.clone() }, 1),
            (Summary { phase_failures: 1, changed: 1, ..base.clone() }, 3),
            (Summary { failed: 1, ..base }, 3),
        ];
        for (summary, code) in table {
            assert_eq!(summary.exit_code(), code, "{summary:?}");
        }
    }
}
