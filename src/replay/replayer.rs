//! One case from start to verdict: measures it, checks the phases, compares with the snapshot, and writes what the policy says.

use std::env;
use std::path::{Component, Path, PathBuf};

use super::{
    CaseResult, Driver, Fidelity, Measurement, Phase, Policy, ReplayCase, ReplayStep, Verdict, check, disagreements,
    malformed_arguments,
};
use crate::backend::BackendError;
use crate::snapshot::{Info, Metadata, Outcome, Snapshot, SnapshotError, Store};

/// Replays cases. Its fields are what the cases have in common.
pub struct Replayer<'a> {
    /// Sends the requests.
    pub driver: Driver<'a>,
    /// The accepted and pending snapshots.
    pub store: Store,
    /// What may be written to them.
    pub policy: Policy,
    /// The model and its tool format, for the front matter of snapshots.
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
    Failed(BackendError),
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
        Ok((result, ending))
    }

    /// The result, as far as it does not depend on the snapshot.
    fn judge(&self, case: &ReplayCase, measurements: Vec<Measurement>, ending: &CaseEnding) -> CaseResult {
        let outcome = measurements.first().map(|measurement| &measurement.outcome);
        CaseResult {
            id: case.id.clone(),
            trace: case.trace.clone(),
            snapshot: self.store.accepted_path(&case.id),
            pending: None,
            verdict: Verdict::Unfinished,
            disagreements: disagreements(&measurements),
            malformed_arguments: malformed_arguments(&measurements),
            phase_failures: check(&measurements, self.driver.state_control().cold_limit()),
            error: match ending {
                CaseEnding::Failed(error) => Some(error.to_string()),
                CaseEnding::Finished | CaseEnding::Interrupted => None,
            },
            fidelity: outcome.zip(case.recorded.as_ref()).map(|(outcome, recorded)| Fidelity::of(outcome, recorded)),
            measurements,
        }
    }

    /// Compares a finished case with its snapshot and writes what the policy says. An outcome on which the measurements disagree,
    /// or with malformed arguments, must not be accepted, so it is compared and never written.
    fn compare_with_snapshot(&self, case: &ReplayCase, result: &mut CaseResult) -> Result<(), SnapshotError> {
        let Some(outcome) = result.outcome().cloned() else { return Ok(()) };
        let accepted = self.store.accepted(&case.id)?.map(|snapshot| snapshot.outcome);
        let as_accepted = accepted.as_ref() == Some(&outcome);
        result.verdict = match accepted {
            Some(_) if as_accepted => Verdict::AsAccepted,
            Some(accepted) => Verdict::Changed { accepted },
            None => Verdict::New,
        };
        match self.policy {
            Policy::Check => {}
            _ if as_accepted => self.store.remove_pending(&case.id)?,
            _ if !result.disagreements.is_empty() || result.malformed_arguments.is_some() => {}
            Policy::Pend => {
                self.store.write_pending(&case.id, &self.snapshot(case, outcome))?;
                result.pending = Some(self.store.pending_path(&case.id));
            }
            Policy::Update => {
                self.store.write_accepted(&case.id, self.snapshot(case, outcome))?;
                result.verdict = Verdict::Updated;
            }
        }
        Ok(())
    }

    fn snapshot(&self, case: &ReplayCase, outcome: Outcome) -> Snapshot {
        let metadata = Metadata {
            source: Some("anyclaude replay".into()),
            description: Some(case.description.clone()),
            expression: Some(self.expression.clone()),
            info: Some(self.info.clone()),
            input_file: Some(portable(&case.trace)),
        };
        Snapshot { metadata, outcome }
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
