//! The results of a replay, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Agreement, Disagreement, Fidelity, Finding, FreeFidelity, Kind, MalformedArguments, Margins, Measurement, PhaseFailure,
};
use crate::snapshot::{ExchangeId, Outcome, Rule};
use crate::trace::path_text;

/// How a case's outcome compares with its accepted snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is the accepted outcome.
    AsAccepted,
    /// Another outcome is accepted.
    Changed {
        /// The accepted one; of several, the one that differs least.
        accepted: Outcome,
        /// What came, with accepted values wherever a match rule covers the difference.
        found: Outcome,
    },
    /// Nothing is accepted yet.
    New,
    /// It is now accepted, as the user asked.
    Updated,
    /// The case was not finished, and nothing was compared.
    Unfinished,
}

/// The result of replaying one trace.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CaseResult {
    /// The trace's name.
    pub id: ExchangeId,
    /// The trace's path.
    #[serde(serialize_with = "path_text::path")]
    #[schemars(with = "PathBuf")]
    pub trace: PathBuf,
    /// Where the accepted snapshot is, or would be.
    #[serde(serialize_with = "path_text::path")]
    #[schemars(with = "PathBuf")]
    pub snapshot: PathBuf,
    /// Where the outcome waits for review, if it does.
    #[serde(serialize_with = "path_text::path_if_any")]
    #[schemars(with = "Option<PathBuf>")]
    pub pending: Option<PathBuf>,
    /// The measurements, in the order in which they were made.
    pub measurements: Vec<Measurement>,
    /// The outcome that is compared with the snapshot: the one that came most often.
    #[serde(skip)]
    pub usual: Option<Outcome>,
    /// How many match rules it takes to accept that outcome; 0 if it is accepted as it came, or not at all.
    pub rules_needed: usize,
    /// The result in one word.
    pub status: Status,
    /// What is not as it should be or as before, the most important first.
    pub findings: Vec<Finding>,
    /// How many measurements gave the accepted outcome, or if that never came or there is none, the most frequent one; `None`
    /// if nothing was measured.
    pub agreement: Option<Agreement>,
    /// How often requests were sent again because the backend was busy.
    pub retries: u32,
    /// How the outcome compares with the accepted one.
    pub verdict: Verdict,
    /// Measurements with different outcomes.
    pub disagreements: Vec<Disagreement>,
    /// A call whose arguments are no JSON object.
    pub malformed_arguments: Option<MalformedArguments>,
    /// Phases that did not happen.
    pub phase_failures: Vec<PhaseFailure>,
    /// The backend's failure, if it failed.
    pub error: Option<String>,
    /// How the outcome compares with the recorded one; `None` if one of them is not known.
    pub fidelity: Option<Fidelity>,
    /// How an answer to the request without a forced tool compares with the recorded one, if that was asked and both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_fidelity: Option<FreeFidelity>,
    /// How sure the model was of the accepted calls, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margins: Option<Margins>,
}

/// What a case came to, in one word: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The backend failed.
    Failed,
    /// A phase did not happen.
    PhaseFailure,
    /// A call's arguments are no JSON object.
    MalformedArguments,
    /// Repeats of one phase gave different tool calls, see [`Kind::Flaky`].
    Flaky,
    /// Phases gave different tool calls, see [`Kind::Cache`] and [`Kind::PhasesDiffer`].
    CacheFailure,
    /// See [`Verdict::Changed`]; also where the outcome is as accepted and the prompt is not.
    Changed,
    /// See [`Verdict::New`].
    New,
    /// See [`Verdict::Updated`].
    Updated,
    /// See [`Verdict::AsAccepted`].
    AsAccepted,
    /// The user stopped it.
    Interrupted,
}

impl CaseResult {
    /// The case's status. `may_be_flaky`: whether it is enough that most repeats are as accepted.
    pub fn judged(&self, may_be_flaky: bool) -> Status {
        let has = |kinds: &[Kind]| self.findings.iter().any(|finding| kinds.contains(&finding.kind));
        // Merged calls and double escapes are malformed too, and their own kinds say more.
        let is_malformed = self.malformed_arguments.is_some() && !has(&[Kind::CallsMerged, Kind::JsonEscapedTwice]);
        match &self.verdict {
            _ if self.error.is_some() => Status::Failed,
            _ if !self.phase_failures.is_empty() => Status::PhaseFailure,
            _ if is_malformed => Status::MalformedArguments,
            _ if has(&[Kind::Flaky]) && !may_be_flaky => Status::Flaky,
            _ if has(&[Kind::Cache, Kind::PhasesDiffer]) => Status::CacheFailure,
            Verdict::AsAccepted if has(&[Kind::PromptTokensChanged]) => Status::Changed,
            Verdict::AsAccepted => Status::AsAccepted,
            Verdict::Changed { .. } => Status::Changed,
            Verdict::New => Status::New,
            Verdict::Updated => Status::Updated,
            Verdict::Unfinished => Status::Interrupted,
        }
    }

    /// The outcome that is compared with the snapshot: the one that came most often.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.usual.as_ref()
    }

    /// Whether a match rule is for an argument of a call that came, or that is accepted.
    pub fn has_use_for(&self, rule: &Rule) -> bool {
        let accepted = match &self.verdict {
            Verdict::Changed { accepted, .. } => Some(accepted),
            _ => None,
        };
        let outcomes = self.measurements.iter().map(|measurement| &measurement.outcome).chain(accepted);
        outcomes.flat_map(|outcome| &outcome.tool_use).any(|call| rule.selects(call))
    }

    /// The most important thing that was found, notices aside.
    pub fn kind(&self) -> Option<Kind> {
        self.findings.iter().map(|finding| finding.kind).find(|kind| !kind.is_notice())
    }

    /// The measurements whose times count: those whose phase is not known to have failed.
    pub fn valid_measurements(&self) -> impl Iterator<Item = &Measurement> {
        let failed = |measurement: &Measurement| {
            self.phase_failures.iter().any(|f| (f.phase, f.repeat) == (measurement.phase, measurement.repeat))
        };
        self.measurements.iter().filter(move |measurement| !failed(measurement))
    }
}

/// What a replay left untested, although a reader of its summary might think otherwise.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Untested {
    /// Cases that were planned and never started.
    pub not_run: Vec<ExchangeId>,
    /// Traces whose request cannot be read.
    pub unreadable: Vec<SkippedTrace>,
    /// Traces without an answered Messages request, and those that may be skipped by wish.
    pub skipped: Vec<SkippedTrace>,
    /// Accepted snapshots whose trace is gone.
    #[serde(serialize_with = "path_text::paths")]
    #[schemars(with = "Vec<PathBuf>")]
    pub without_trace: Vec<PathBuf>,
    /// Match rules of the settings that were for no argument of any call.
    pub unused_rules: Vec<Rule>,
}

/// A trace that is not replayed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SkippedTrace {
    /// The trace's path.
    #[serde(serialize_with = "path_text::path")]
    #[schemars(with = "PathBuf")]
    pub trace: PathBuf,
    /// Why.
    pub reason: String,
}

/// How many cases have which [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReplaySummary {
    /// [`Status::AsAccepted`].
    pub as_accepted: usize,
    /// [`Status::Changed`].
    pub changed: usize,
    /// [`Status::New`].
    pub new: usize,
    /// [`Status::Updated`].
    pub updated: usize,
    /// [`Status::MalformedArguments`].
    pub malformed_arguments: usize,
    /// [`Status::Flaky`].
    pub flaky: usize,
    /// [`Status::CacheFailure`].
    pub cache_failures: usize,
    /// [`Status::PhaseFailure`].
    pub phase_failures: usize,
    /// [`Status::Failed`].
    pub failed: usize,
    /// [`Status::Interrupted`].
    pub interrupted: usize,
    /// Cases that were planned and never started.
    pub not_run: usize,
    /// Traces without an answered Messages request, and those that may be skipped by wish.
    pub skipped: usize,
    /// Traces whose request cannot be read.
    pub unreadable: usize,
    /// Accepted snapshots whose trace is gone.
    pub without_trace: usize,
    /// How often requests were sent again because the backend was busy.
    pub retries: u32,
    /// How often each kind was found.
    pub kinds: BTreeMap<Kind, usize>,
}

impl ReplaySummary {
    /// Counts the results, and what was not tested.
    pub fn new(results: &[CaseResult], untested: &Untested) -> Self {
        let Untested { not_run, unreadable, skipped, without_trace, unused_rules } = untested;
        let mut summary = Self {
            not_run: not_run.len(),
            unreadable: unreadable.len(),
            skipped: skipped.len(),
            without_trace: without_trace.len(),
            retries: results.iter().map(|result| result.retries).sum(),
            ..Self::default()
        };
        let lost = [
            (Kind::Unreadable, unreadable.len()),
            (Kind::Skipped, skipped.len()),
            (Kind::TraceLost, without_trace.len()),
            (Kind::RuleUnused, unused_rules.len()),
        ];
        let found = results.iter().flat_map(|result| &result.findings).map(|finding| (finding.kind, 1));
        for (kind, count) in lost.into_iter().chain(found).filter(|(_, count)| *count > 0) {
            *summary.kinds.entry(kind).or_default() += count;
        }
        for result in results {
            let count = match result.status {
                Status::Failed => &mut summary.failed,
                Status::PhaseFailure => &mut summary.phase_failures,
                Status::MalformedArguments => &mut summary.malformed_arguments,
                Status::Flaky => &mut summary.flaky,
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

    /// The exit code: 3 if figures are missing, else 1 if tool calls are not as accepted or could not be compared, else 4 if it
    /// is slower or less sure than allowed, else 0.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if self.failed + self.phase_failures > 0 => 3,
            _ if self.changed + self.new + self.malformed_arguments + self.flaky + self.cache_failures > 0 => 1,
            _ if self.unreadable + self.without_trace > 0 => 1,
            _ if [Kind::LowFidelity, Kind::LessSure, Kind::Slower, Kind::OverBudget]
                .iter()
                .any(|kind| self.kinds.contains_key(kind)) =>
            {
                4
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst_case() {
        let base = ReplaySummary { as_accepted: 3, updated: 1, skipped: 2, ..ReplaySummary::default() };
        let table = [
            (base.clone(), 0),
            (ReplaySummary { changed: 1, ..base.clone() }, 1),
            (ReplaySummary { new: 1, ..base.clone() }, 1),
            (ReplaySummary { unreadable: 1, ..base.clone() }, 1),
            (ReplaySummary { without_trace: 1, ..base.clone() }, 1),
            (ReplaySummary { cache_failures: 1, ..base.clone() }, 1),
            (ReplaySummary { flaky: 1, ..base.clone() }, 1),
            (ReplaySummary { malformed_arguments: 1, ..base.clone() }, 1),
            (ReplaySummary { phase_failures: 1, changed: 1, ..base.clone() }, 3),
            (ReplaySummary { failed: 1, ..base.clone() }, 3),
            (ReplaySummary { kinds: [(Kind::Slower, 1)].into(), ..base.clone() }, 4),
            (ReplaySummary { kinds: [(Kind::LessSure, 1)].into(), ..base.clone() }, 4),
            (ReplaySummary { kinds: [(Kind::LowFidelity, 1)].into(), ..base.clone() }, 4),
            (ReplaySummary { kinds: [(Kind::OverBudget, 1)].into(), changed: 1, ..base }, 1),
        ];
        for (summary, code) in table {
            assert_eq!(summary.exit_code(), code, "{summary:?}");
        }
    }
}
