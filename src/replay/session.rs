//! One case from start to verdict: run it, check the phases, compare with the snapshot, write what the user asked to write.

use std::env;
use std::path::{Component, Path};

use super::{Case, CaseResult, Driver, Fidelity, Phase, Run, Step, Verdict, check, disagreements};
use crate::backend::BackendError;
use crate::snapshot::{Info, Metadata, Outcome, Snapshot, SnapshotError, Store};

/// What to do with an outcome that is not the accepted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Leave it for review.
    Pend,
    /// Accept it.
    Update,
    /// Write nothing.
    Check,
}

/// What a replay of many cases has in common.
pub struct Session<'a> {
    pub driver: Driver<'a>,
    pub store: Store,
    pub policy: Policy,
    pub info: Info,
    /// The settings, for a reviewer.
    pub expression: String,
}

/// How a case ended.
#[derive(Debug)]
pub enum Ending {
    /// All steps were taken.
    Finished,
    /// The backend failed.
    Failed(BackendError),
    /// The user stopped it.
    Interrupted,
}

impl Session<'_> {
    /// Runs one case until it is done, the backend fails, or `interrupt` comes. What was measured is in the result either way.
    /// Touches files, so it needs the multi-threaded runtime.
    pub async fn replay(
        &self,
        case: &Case,
        steps: &[Step],
        on_measure: &(dyn Fn(Phase) + Sync),
        interrupt: impl Future<Output = ()>,
    ) -> Result<(CaseResult, Ending), SnapshotError> {
        let mut runs = Vec::new();
        let ending = tokio::select! {
            outcome = self.driver.run(case, steps, &mut runs, on_measure) => outcome.map_or_else(Ending::Failed, |()| Ending::Finished),
            () = interrupt => Ending::Interrupted,
        };
        let mut result = self.judge(case, runs, &ending);
        if matches!(ending, Ending::Finished) {
            tokio::task::block_in_place(|| self.settle(case, &mut result))?;
        }
        Ok((result, ending))
    }

    /// Everything that is known without looking at the snapshot.
    fn judge(&self, case: &Case, runs: Vec<Run>, ending: &Ending) -> CaseResult {
        let outcome = runs.first().map(|run| &run.outcome);
        CaseResult {
            id: case.id.clone(),
            trace: case.trace.clone(),
            snapshot: self.store.accepted_path(&case.id),
            pending: None,
            verdict: Verdict::Unfinished,
            disagreements: disagreements(&runs),
            phase_failures: check(&runs, self.driver.state_control().cold_limit()),
            error: match ending {
                Ending::Failed(error) => Some(error.to_string()),
                Ending::Finished | Ending::Interrupted => None,
            },
            fidelity: outcome.zip(case.recorded.as_ref()).map(|(outcome, recorded)| Fidelity::of(outcome, recorded)),
            runs,
        }
    }

    /// Compares a finished case with its snapshot and writes what the policy says. An outcome on which the runs disagree is
    /// nobody's to accept: it is compared, never written.
    fn settle(&self, case: &Case, result: &mut CaseResult) -> Result<(), SnapshotError> {
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
            _ if !result.disagreements.is_empty() => {}
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

    fn snapshot(&self, case: &Case, outcome: Outcome) -> Snapshot {
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

/// The path as a committed file may name it: relative to the working folder where it is inside, with forward slashes.
fn portable(path: &Path) -> String {
    let working_folder = env::current_dir().unwrap_or_default();
    let inside = path.strip_prefix(&working_folder).unwrap_or(path);
    let parts = inside.components().filter(|component| !matches!(component, Component::CurDir));
    parts.collect::<std::path::PathBuf>().to_string_lossy().replace('\\', "/")
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
