//! The replay of all traces on one backend: what is replayed, against what, and how it is carried out.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rustix::process::Signal;

use super::args::ReplayArgs;
use super::pace::Pace;
use super::result_files::ResultFiles;
use crate::backend::BackendError;
use crate::cli::CliError;
use crate::cli::answerer::{Answerer, Asked, host_name, model_name};
use crate::cli::signals::{self, Signals};
use crate::replay::{
    CaseEnding, CaseResult, Driver, Kind, KnownAnswers, Phase, Plan, Policy, ReplaySettings, Replayer, Skip, SkippedTrace,
    StateControl, Untested,
};
use crate::report::{ReplayTarget, Report, States, terminal};
use crate::snapshot::{Info, Rule, Store};

/// The replay of all traces on one backend.
pub(super) struct Replay {
    /// What to call the backend beside others.
    pub name: String,
    pub plan: Plan,
    /// Accepted snapshots whose traces are gone.
    pub without_trace: Vec<PathBuf>,
    pub settings: ReplaySettings,
    pub policy: Policy,
    /// Whether to ask how sure the model is of the accepted calls, with the answers of an earlier replay.
    pub known_answers: Option<KnownAnswers>,
    /// Width of the widest name of a trace, in terminal columns.
    pub id_width: usize,
    answerer: Answerer,
    target: ReplayTarget,
    store: Store,
    /// Whether traces with unreadable requests are no failure.
    allow_skips: bool,
}

/// How far the plan was carried out.
pub(super) enum RunEnd {
    /// All cases were run.
    Whole,
    /// This signal stopped it.
    Interrupted(Signal),
    /// The backend is gone, so that the remaining cases would fail too.
    Unreachable(BackendError),
}

impl Replay {
    pub(super) fn new(
        args: &ReplayArgs,
        policy: Policy,
        asked: &Asked,
        settings: ReplaySettings,
        store: Store,
        plan: Plan,
        answerer: Answerer,
    ) -> Self {
        let backend = answerer.backend.as_ref();
        let states = match Driver::new(backend, 0).state_control() {
            StateControl::Cache(_) => States::CacheControl,
            StateControl::Salt => States::Salt,
            StateControl::NoCache => States::NoCache,
        };
        let widths = plan.cases.iter().map(|case| console::measure_text_width(&case.id.to_string()));
        Self {
            id_width: widths.max().unwrap_or(0),
            name: asked.backend.name.clone(),
            target: ReplayTarget {
                backend: asked.backend.text.clone(),
                model: model_name(asked, backend),
                digest: answerer.digest.clone(),
                tool_format: answerer.tool_format.into(),
                host: host_name(),
                states,
            },
            plan,
            without_trace: Vec::new(),
            settings,
            policy,
            known_answers: None,
            answerer,
            store,
            allow_skips: args.allow_skips,
        }
    }

    /// The line that says what is going to happen.
    pub(super) fn header(&self) -> String {
        terminal::header(&self.target, &self.settings, self.plan.cases.len())
    }

    /// Runs one case after the other, and prints a line for each. `write` writes the result files, all the while, so that a later
    /// failure loses little.
    pub(super) async fn run_cases(
        &self,
        files: &ResultFiles,
        results: &mut Vec<CaseResult>,
        write: impl Fn(&[CaseResult]) -> Result<(), CliError>,
    ) -> Result<RunEnd, CliError> {
        let (replayer, progress, mut pace) = (self.replayer(), progress_bar(self.plan.measurements()), Pace::default());
        let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
        let received = OnceCell::new();
        let mut interrupt = std::pin::pin!(async {
            // Cannot fail: this future ends with the first signal.
            received.set(signals.next().await).ok();
        });
        for case in &self.plan.cases {
            let on_measure = |phase: Phase| {
                progress.set_message(format!("{} {phase}", case.id));
                progress.inc(1);
            };
            let replayed = replayer.replay(case, &self.plan.steps, &on_measure, interrupt.as_mut()).await;
            let (result, ending) = replayed.map_err(CliError::input)?;
            progress.suspend(|| files.print(&terminal::case_line(&result, self.id_width)))?;
            results.push(result);
            pace.write(|| tokio::task::block_in_place(|| write(results)))?;
            match ending {
                CaseEnding::Failed(failure) if failure.kind() == Kind::Unreachable => {
                    return Ok(RunEnd::Unreachable(failure.error));
                }
                CaseEnding::Finished | CaseEnding::Failed(_) => {}
                CaseEnding::Interrupted => {
                    let signal = received.get().copied().unwrap_or(Signal::INT);
                    return Ok(RunEnd::Interrupted(signal));
                }
            }
        }
        Ok(RunEnd::Whole)
    }

    fn replayer(&self) -> Replayer<'_> {
        let settings = &self.settings;
        Replayer {
            driver: Driver::new(self.answerer.backend.as_ref(), settings.retries),
            store: self.store.clone(),
            policy: self.policy,
            settings,
            known_answers: self.known_answers.clone(),
            info: Info {
                model: self.target.model.clone(),
                tool_format: self.target.tool_format.clone(),
                digest: self.target.digest.clone(),
                ..Info::default()
            },
            expression: format!("tool_choice {}, max_tokens {}", settings.tool_choice.name(), settings.max_tokens),
        }
    }

    /// The match rules that applied to no call. None unless all traces were replayed: a part of them need not use every rule.
    fn unused_rules(&self, results: &[CaseResult]) -> Vec<Rule> {
        let is_whole = results.len() == self.plan.cases.len() && self.settings.filter.is_empty();
        let rules = self.settings.matching.rules.iter().filter(|_| is_whole);
        rules.filter(|rule| !results.iter().any(|result| result.has_use_for(rule))).cloned().collect()
    }

    /// The report of the results so far.
    pub(super) fn report<'a>(&'a self, results: &'a [CaseResult]) -> Report<'a> {
        let counts = |skip: &Skip| matches!(skip, Skip::Unreadable(_)) && !self.allow_skips;
        let skipped = |(trace, skip): &(PathBuf, Skip)| SkippedTrace { trace: trace.clone(), reason: skip.to_string() };
        let (unreadable, others): (Vec<_>, Vec<_>) = self.plan.skipped.iter().partition(|(_, skip)| counts(skip));
        let [unreadable, skipped] = [unreadable, others].map(|traces| traces.into_iter().map(skipped).collect());
        let not_run = self.plan.cases.iter().skip(results.len()).map(|case| case.id.clone()).collect();
        let (without_trace, unused_rules) = (self.without_trace.clone(), self.unused_rules(results));
        let untested = Untested { not_run, unreadable, skipped, without_trace, unused_rules };
        Report::new(&self.target, &self.settings, results, untested)
    }
}

/// A bar on stderr that counts the measurements; hidden without a terminal. It disappears when it is dropped.
fn progress_bar(measurements: usize) -> ProgressBar {
    let bar = ProgressBar::new(measurements as u64).with_finish(ProgressFinish::AndClear);
    // The test below parses the template.
    bar.set_style(ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const TEMPLATE: &str = "{spinner} {pos}/{len} {wide_bar} {elapsed} {msg}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
