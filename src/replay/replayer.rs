//! One case from start to verdict: measures it, checks the phases, compares with the snapshot, and writes what the policy says.

use std::env;
use std::path::{Component, Path, PathBuf};

use super::compare::{inconsistency, most_frequent};
use super::header::header_changes;
use super::{
    Acceptance, CaseResult, Driver, Failure, Fidelity, FidelityMode, Finding, FreeFidelity, Kind, KnownAnswers, Margins,
    Measurement, Nearest, Phase, Policy, ReplayCase, ReplaySettings, ReplayStep, Status, Verdict, agreement, disagreements,
    malformed_arguments,
};
use crate::snapshot::{Info, Metadata, Outcome, Snapshot, SnapshotError, Store};

/// Replays cases. Its fields are what the cases have in common.
pub struct Replayer<'a> {
    /// Sends the requests.
    pub driver: Driver<'a>,
    /// The accepted and pending snapshots.
    pub store: Store,
    /// What may be written to them.
    pub policy: Policy,
    /// How outcomes are compared, and what becomes of traces whose repeats differ.
    pub settings: &'a ReplaySettings,
    /// What answers, for the snapshots; without the tokens of a prompt.
    pub info: Info,
    /// Whether to ask how sure the model is of the accepted calls, with the answers of an earlier replay.
    pub known_answers: Option<KnownAnswers>,
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
    /// then. `on_measure` is called before each measurement. Reads and writes files, and so needs the multi-threaded runtime.
    pub async fn replay(
        &self,
        case: &ReplayCase,
        steps: &[ReplayStep],
        on_measure: &(dyn Fn(Phase) + Sync),
        interrupt: impl Future<Output = ()>,
    ) -> Result<(CaseResult, CaseEnding), SnapshotError> {
        let (mut measurements, mut free_outcome) = (Vec::new(), None);
        let run = async {
            self.driver.run(case, steps, &mut measurements, on_measure).await?;
            if self.settings.fidelity == FidelityMode::Free {
                free_outcome = Some(self.driver.free_outcome(case).await?);
            }
            Ok::<(), Failure>(())
        };
        let ending = tokio::select! {
            outcome = run => outcome.map_or_else(CaseEnding::Failed, |()| CaseEnding::Finished),
            () = interrupt => CaseEnding::Interrupted,
        };
        let file = tokio::task::block_in_place(|| self.store.accepted(&case.id))?;
        let acceptance = Acceptance::new(file.as_ref(), &self.settings.matching);
        let mut result = self.judge(case, measurements, &acceptance, &ending);
        let answers = free_outcome.as_ref().zip(case.recorded.as_ref());
        result.free_fidelity = answers.map(|(free, recorded)| FreeFidelity::of(free, recorded, &case.request.tools));
        if matches!(ending, CaseEnding::Finished) {
            tokio::task::block_in_place(|| self.compare_with_snapshot(case, file, &acceptance, &mut result))?;
        }
        if let (CaseEnding::Finished, Some(known), Some(outcome)) = (&ending, &self.known_answers, &result.usual) {
            result.margins = Some(Margins::of(&self.driver, case, &acceptance, known, outcome).await);
        }
        result.findings.sort_by_key(|finding| finding.kind);
        result.status = result.judged(self.tolerates(&result));
        Ok((result, ending))
    }

    /// The result, as far as it is not a comparison with the snapshot.
    fn judge(
        &self,
        case: &ReplayCase,
        measurements: Vec<Measurement>,
        acceptance: &Acceptance,
        ending: &CaseEnding,
    ) -> CaseResult {
        let usual = most_frequent(&measurements, acceptance).map(|usual| usual.outcome.clone());
        let failure = match ending {
            CaseEnding::Failed(failure) => Some(failure),
            CaseEnding::Finished | CaseEnding::Interrupted => None,
        };
        let phase_failures = self.driver.state_control().phase_failures(&measurements);
        let missing = phase_failures.iter().map(|failure| Finding::said(Kind::PhaseMissing, failure.to_string()));
        let differing = inconsistency(&measurements, acceptance);
        CaseResult {
            id: case.id.clone(),
            trace: case.trace.clone(),
            snapshot: self.store.accepted_path(&case.id),
            pending: None,
            status: Status::Interrupted,
            findings: failure.map(Failure::finding).into_iter().chain(missing).chain(differing).collect(),
            agreement: usual.as_ref().map(|usual| agreement(&measurements, usual, acceptance)),
            retries: measurements.iter().map(|one| one.retries).sum::<u32>() + self.driver.retries_since_measuring(),
            verdict: Verdict::Unfinished,
            disagreements: disagreements(&measurements, acceptance),
            malformed_arguments: malformed_arguments(&measurements),
            phase_failures,
            error: failure.map(|failure| failure.error.to_string()),
            fidelity: usual.as_ref().zip(case.recorded.as_ref()).map(|(usual, recorded)| Fidelity::of(usual, recorded)),
            rules_needed: usual.as_ref().map_or(0, |usual| acceptance.rules_needed(usual)),
            usual,
            free_fidelity: None,
            margins: None,
            measurements,
        }
    }

    /// Compares a finished case with its snapshot and writes what the policy says. An outcome on which the measurements disagree,
    /// or with malformed arguments, must not be accepted, so it is compared and never written.
    fn compare_with_snapshot(
        &self,
        case: &ReplayCase,
        file: Option<Snapshot>,
        acceptance: &Acceptance,
        result: &mut CaseResult,
    ) -> Result<(), SnapshotError> {
        let Some(usual) = most_frequent(&result.measurements, acceptance).cloned() else { return Ok(()) };
        let nearest = acceptance.nearest(&usual.outcome, &usual.text);
        let outcome_changed = nearest.is_some() && !acceptance.accepts(&usual.outcome);
        let mut now = self.snapshot(case, &usual, file.as_ref());
        let mut findings = nearest
            .as_ref()
            .map_or_else(|| vec![Finding::said(Kind::NoSnapshot, "nothing is accepted yet")], |nearest| nearest.findings.clone());
        findings.extend(file.iter().flat_map(|file| self.header_changes(file, &now)));
        if let Some(nearest) = &nearest {
            let share = agreement(&result.measurements, &nearest.accepted, acceptance);
            result.agreement = Some(share).filter(|share| share.same > 0).or(result.agreement);
            findings.extend(unused_rules(file.as_ref(), &nearest.accepted, &result.measurements));
        }
        let must_be_accepted = findings.iter().any(|finding| !finding.kind.is_notice());
        result.findings.extend(findings);
        result.findings.extend(malformed(result));
        result.verdict = match nearest {
            Some(Nearest { accepted, seen, .. }) if outcome_changed => Verdict::Changed { accepted, found: seen },
            Some(_) => Verdict::AsAccepted,
            None => Verdict::New,
        };
        let is_flaky_by_wish = self.tolerates(result) && result.kind() == Some(Kind::Flaky);
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
                if let (Some(file), false) = (&file, outcome_changed) {
                    keep_accepted(file, &mut now, must_be_accepted);
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

    /// Whether the result is good enough although repeats differ.
    fn tolerates(&self, result: &CaseResult) -> bool {
        result.agreement.is_some_and(|agreement| self.settings.tolerates(agreement))
    }

    /// What differs between the headers of the accepted snapshot and this one.
    fn header_changes(&self, accepted: &Snapshot, now: &Snapshot) -> Vec<Finding> {
        let infos = accepted.metadata.info.as_ref().zip(now.metadata.info.as_ref());
        infos.map_or_else(Vec::new, |(old, new)| header_changes(old, new, self.driver.state_control().cold_limit()))
    }

    /// The snapshot of this outcome, under the match rules of the accepted one.
    fn snapshot(&self, case: &ReplayCase, measurement: &Measurement, accepted: Option<&Snapshot>) -> Snapshot {
        let rules = accepted.and_then(|accepted| accepted.metadata.info.clone()).unwrap_or_default();
        let info = Info {
            prompt_tokens: Some(measurement.prompt_tokens),
            rules: rules.rules,
            unordered_calls: rules.unordered_calls,
            ..self.info.clone()
        };
        let metadata = Metadata {
            source: Some("anyclaude replay".into()),
            description: Some(case.description.clone()),
            expression: Some(self.expression.clone()),
            info: Some(info),
            input_file: Some(portable(&case.trace)),
        };
        Snapshot { metadata, outcome: measurement.outcome.clone(), alternatives: Vec::new() }
    }
}

/// The snapshot's own rules that are for nothing in what is accepted and in what came.
fn unused_rules(file: Option<&Snapshot>, accepted: &Outcome, measurements: &[Measurement]) -> Vec<Finding> {
    let rules = file.and_then(|file| file.metadata.info.as_ref()).map_or(&[][..], |info| &info.rules);
    let calls = || accepted.tool_use.iter().chain(measurements.iter().flat_map(|one| &one.outcome.tool_use));
    let unused = rules.iter().enumerate().filter(|(_, rule)| !calls().any(|call| rule.selects(call)));
    unused.map(|(at, rule)| Finding::at_said(Kind::RuleUnused, format!("info.match[{at}]"), rule.to_string())).collect()
}

/// Malformed arguments as a finding, unless one says more of them.
fn malformed(result: &CaseResult) -> Option<Finding> {
    let says_more = [Kind::MalformedArguments, Kind::CallsMerged, Kind::JsonEscapedTwice];
    let found = result.malformed_arguments.as_ref()?;
    let is_new = !result.findings.iter().any(|finding| says_more.contains(&finding.kind));
    let note = format!("{} was called with what is no JSON object ({})", found.tool, found.measurement);
    is_new.then(|| Finding { found: Some(found.arguments.as_str().into()), ..Finding::said(Kind::MalformedArguments, note) })
}

/// Keeps the accepted outcomes where the new one is equal to one of them, and the accepted count of prompt tokens where the new
/// one differs by so little that it is no change.
fn keep_accepted(accepted: &Snapshot, now: &mut Snapshot, prompt_changed: bool) {
    let mut redacted = accepted.accepted().map(|outcome| outcome.clone().redacted());
    if let Some(first) = redacted.next() {
        now.outcome = first;
    }
    now.alternatives = redacted.collect();
    let count = accepted.metadata.info.as_ref().and_then(|info| info.prompt_tokens);
    if let (Some(count), Some(info), false) = (count, &mut now.metadata.info, prompt_changed) {
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
