//! One case from start to verdict: measures it, checks the phases, compares with the snapshot, and writes what the policy says.

use std::env;
use std::path::{Component, Path, PathBuf};

use super::compare::{inconsistency, most_frequent};
use super::header::header_changes;
use super::{
    CaseResult, Driver, Failure, Fidelity, Finding, FlakyPolicy, Kind, Measurement, Phase, Policy, ReplayCase, ReplayStep,
    Status, Verdict, agreement, check, differences, disagreements, malformed_arguments,
};
use crate::snapshot::{Info, Metadata, Snapshot, SnapshotError, Store};

/// Replays cases. Its fields are what the cases have in common.
pub struct Replayer<'a> {
    /// Sends the requests.
    pub driver: Driver<'a>,
    /// The accepted and pending snapshots.
    pub store: Store,
    /// What may be written to them.
    pub policy: Policy,
    /// What becomes of traces whose repeats differ.
    pub flaky: FlakyPolicy,
    /// What answers, for the snapshots; without the tokens of a prompt.
    pub info: Info,
    /// The settings in words, for a reviewer.
    pub expression: String,
}

/// How a case ended.
#[derive(Debug)]
pub enum CaseEnding {
    /// All steps were taken.
    Finished,
    /// The backend failed.
    Failed(Failure),
    /// The user stopped it.
    Interrupted,
}

impl Replayer<'_> {
    /// Replays one case until it is done, the backend fails, or `interrupt` completes; the result has what was measured until
    /// then.
    /// `on_measure` is called before each measurement. Reads and writes files, and so needs the multi-threaded runtime.
    pub async fn replay(
        &self,
        case: &ReplayCase,
        steps: &[ReplayStep],
        on_measure: &(dyn Fn(Phase) + Sync),
        interrupt: impl Future<Output = ()>,
    ) -> Result<(CaseResult, CaseEnding), SnapshotError> {
        let mut measurements = Vec::new();
        let ending = tokio::select! {
            outcome = self.driver.run(case, steps, &mut measurements, on_measure) => {
                outcome.map_or_else(CaseEnding::Failed, |()| CaseEnding::Finished)
            }
            () = interrupt => CaseEnding::Interrupted,
        };
        let mut result = self.judge(case, measurements, &ending);
        if matches!(ending, CaseEnding::Finished) {
            tokio::task::block_in_place(|| self.compare_with_snapshot(case, &mut result))?;
        }
        result.findings.sort_by_key(|finding| finding.kind);
        result.status = result.judged(self.flaky == FlakyPolicy::Pass);
        Ok((result, ending))
    }

    /// The result, as far as it does not depend on the snapshot.
    fn judge(&self, case: &ReplayCase, measurements: Vec<Measurement>, ending: &CaseEnding) -> CaseResult {
        let usual = most_frequent(&measurements);
        let failure = match ending {
            CaseEnding::Failed(failure) => Some(failure),
            CaseEnding::Finished | CaseEnding::Interrupted => None,
        };
        let phase_failures = check(&measurements, self.driver.state_control().cold_limit());
        let missing = phase_failures.iter().map(|failure| Finding::said(Kind::PhaseMissing, failure.to_string()));
        let findings = failure.map(Failure::finding).into_iter().chain(missing).chain(inconsistency(&measurements)).collect();
        CaseResult {
            id: case.id.clone(),
            trace: case.trace.clone(),
            snapshot: self.store.accepted_path(&case.id),
            pending: None,
            status: Status::Interrupted,
            findings,
            agreement: usual.map(|usual| agreement(&measurements, &usual.outcome)),
            retries: measurements.iter().map(|one| one.retries).sum::<u32>() + self.driver.retries_since_measuring(),
            verdict: Verdict::Unfinished,
            disagreements: disagreements(&measurements),
            malformed_arguments: malformed_arguments(&measurements),
            phase_failures,
            error: failure.map(|failure| failure.error.to_string()),
            fidelity: usual.zip(case.recorded.as_ref()).map(|(usual, recorded)| Fidelity::of(&usual.outcome, recorded)),
            measurements,
        }
    }

    /// Compares a finished case with its snapshot and writes what the policy says. An outcome on which the measurements disagree,
    /// or with malformed arguments, must not be accepted, so it is compared and never written.
    fn compare_with_snapshot(&self, case: &ReplayCase, result: &mut CaseResult) -> Result<(), SnapshotError> {
        let Some(usual) = most_frequent(&result.measurements).cloned() else { return Ok(()) };
        let file = self.store.accepted(&case.id)?;
        // Snapshots of earlier versions may hold what is a secret today.
        let accepted = file.clone().map(|file| Snapshot { outcome: file.outcome.redacted(), ..file });
        let mut now = self.snapshot(case, &usual);
        let findings = match &accepted {
            None => vec![Finding::said(Kind::NoSnapshot, "nothing is accepted yet")],
            Some(accepted) => self.changes(accepted, &now, &usual.text),
        };
        if let Some(accepted) = &accepted {
            let share = agreement(&result.measurements, &accepted.outcome);
            result.agreement = Some(share).filter(|share| share.same > 0).or(result.agreement);
        }
        let outcome_changed = accepted.as_ref().is_some_and(|accepted| accepted.outcome != now.outcome);
        let must_be_accepted = findings.iter().any(|finding| !finding.kind.is_notice());
        result.findings.extend(findings);
        result.findings.extend(malformed(result));
        result.verdict = match &accepted {
            Some(accepted) if outcome_changed => Verdict::Changed { accepted: accepted.outcome.clone() },
            Some(_) => Verdict::AsAccepted,
            None => Verdict::New,
        };
        let is_flaky_by_wish = self.flaky == FlakyPolicy::Pass && result.kind() == Some(Kind::Flaky);
        let is_certain = (result.disagreements.is_empty() || is_flaky_by_wish) && result.malformed_arguments.is_none();
        match self.policy {
            Policy::Check => {}
            Policy::Pend if !must_be_accepted => self.store.remove_pending(&case.id)?,
            _ if !is_certain => {}
            Policy::Pend => {
                self.store.write_pending(&case.id, &now)?;
                result.pending = Some(self.store.pending_path(&case.id));
            }
            Policy::Update => {
                if let (Some(accepted), false) = (&accepted, must_be_accepted) {
                    keep_count(accepted, &mut now);
                }
                now.metadata = now.metadata.trimmed();
                if file.as_ref() != Some(&now) {
                    self.store.write_accepted(&case.id, now)?;
                    result.verdict = Verdict::Updated;
                }
                self.store.remove_pending(&case.id)?;
            }
        }
        Ok(())
    }

    /// What differs between the accepted snapshot and this one.
    fn changes(&self, accepted: &Snapshot, now: &Snapshot, text: &str) -> Vec<Finding> {
        let mut findings = differences(&accepted.outcome, &now.outcome, text);
        if let (Some(old), Some(new)) = (&accepted.metadata.info, &now.metadata.info) {
            findings.extend(header_changes(old, new, self.driver.state_control().cold_limit()));
        }
        findings
    }

    fn snapshot(&self, case: &ReplayCase, measurement: &Measurement) -> Snapshot {
        let metadata = Metadata {
            source: Some("anyclaude replay".into()),
            description: Some(case.description.clone()),
            expression: Some(self.expression.clone()),
            info: Some(Info { prompt_tokens: Some(measurement.prompt_tokens), ..self.info.clone() }),
            input_file: Some(portable(&case.trace)),
        };
        Snapshot { metadata, outcome: measurement.outcome.clone() }
    }
}

/// Malformed arguments as a finding, unless one says more of them.
fn malformed(result: &CaseResult) -> Option<Finding> {
    let says_more = [Kind::MalformedArguments, Kind::CallsMerged, Kind::JsonEscapedTwice];
    let found = result.malformed_arguments.as_ref()?;
    let is_new = !result.findings.iter().any(|finding| says_more.contains(&finding.kind));
    let note = format!("{} was called with what is no JSON object ({})", found.tool, found.measurement);
    is_new.then(|| Finding { found: Some(found.arguments.as_str().into()), ..Finding::said(Kind::MalformedArguments, note) })
}

/// Keeps the accepted count of prompt tokens where the new one differs by so little that it is no change.
fn keep_count(accepted: &Snapshot, now: &mut Snapshot) {
    let count = accepted.metadata.info.as_ref().and_then(|info| info.prompt_tokens);
    if let (Some(count), Some(info)) = (count, &mut now.metadata.info) {
        info.prompt_tokens = Some(count);
    }
}

/// The path as a committed file may name it: relative to the working folder if it is inside, and with forward slashes.
fn portable(path: &Path) -> String {
    let working_folder = env::current_dir().unwrap_or_default();
    let inside = path.strip_prefix(&working_folder).unwrap_or(path);
    let parts = inside.components().filter(|component| !matches!(component, Component::CurDir));
    parts.collect::<PathBuf>().to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_inside_the_working_folder_is_named_without_it() {
        let absolute = env::current_dir().unwrap().join("traces/demo/001.json");
        for path in [Path::new("traces/demo/001.json"), Path::new("./traces/./demo/001.json"), &absolute] {
            assert_eq!(portable(path), "traces/demo/001.json");
        }
        assert_eq!(portable(Path::new("/elsewhere/001.json")), "/elsewhere/001.json");
    }
}
