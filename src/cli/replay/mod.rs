//! `anyclaude replay`: drives recorded traces against a backend, prints the report, writes the figures.

mod args;
mod backend;
mod expectations;
mod github;
mod pace;
mod result_files;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rustix::process::Signal;
use serde_json::Map;

pub(super) use self::args::ReplayArgs;
use self::backend::{Answerer, backend_error, configured_model, connect, model_name};
use self::expectations::{Expectations, host_name};
use self::github::GitHub;
use self::pace::Pace;
use self::result_files::ResultFiles;
use super::signals::{self, Signals, exit_code_of};
use super::{CliError, say};
use crate::backend::BackendError;
use crate::config;
use crate::replay::{
    CaseEnding, CaseResult, Driver, Kind, Learnt, Phase, Plan, Policy, ReplaySettings, Replayer, Skip, SkippedTrace,
    StateControl, Untested,
};
use crate::report::{ReplayTarget, Report, States, learnt, terminal};
use crate::snapshot::{Info, Rule, Store};
use crate::trace;

/// Replays the traces and prints the report.
pub(super) async fn run(mut args: ReplayArgs) -> Result<ExitCode, CliError> {
    let policy = args.policy()?;
    let (configured, expectations, settings, plan, without_trace) = tokio::task::block_in_place(|| {
        let configured = config::load(&Map::new())?.settings;
        let defaults = configured.replay.clone();
        args.model = args.model.take().or_else(|| configured_model(&args.backend, &configured));
        let expectations = Expectations::read(&args, defaults.budget.clone())?;
        let settings = args.settings(defaults);
        let plan = plan(&args, &settings)?;
        let without_trace = without_trace(&args, &plan)?;
        Ok::<_, CliError>((configured, expectations, settings, plan, without_trace))
    })?;
    let answerer = connect(&args, &plan, &configured).await?;
    let replay = Replay::new(&args, settings, plan, without_trace, &answerer);
    let known_answers = expectations.known_answers(answerer.backend.as_ref(), answerer.digest.as_ref())?;
    let replayer = Replayer { known_answers, ..replayer(&args, &replay.settings, policy, &answerer) };
    replay.run(&replayer, &expectations).await
}

/// Reads the traces and plans what to do with them. Having nothing to do is an error, not a success, unless the user says that
/// traces may be skipped. Traces that cannot be read are something to report.
fn plan(args: &ReplayArgs, settings: &ReplaySettings) -> Result<Plan, CliError> {
    let found = trace::find(&args.traces)?;
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace)).map_err(CliError::from);
    let traces = found.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut plan = Plan::new(traces, settings).map_err(CliError::input)?;
    if let (Some(model), false) = (&args.model, args.is_in_process()) {
        plan.cases.iter_mut().for_each(|case| case.request.model.clone_from(model));
    }
    for (path, skip) in plan.skipped.iter().filter(|(_, skip)| matches!(skip, Skip::Unreadable(_) | Skip::Twice(_))) {
        say(format!("warning: {}: skipped: {skip}", path.display()));
    }
    let is_reported = args.allow_skips || plan.unreadable().next().is_some();
    if plan.cases.is_empty() && is_reported && !plan.skipped.is_empty() {
        say("warning: nothing is replayed: all traces are skipped");
    } else if plan.cases.is_empty() {
        let folders = args.traces.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(CliError::input(match plan.skipped.len() {
            0 => format!("{folders}: no trace matches --filter {}", args.filter.join(" --filter ")),
            skipped => format!(
                "{folders}: nothing to replay; skipped {skipped}, none holds an answered Messages request; --allow-skips succeeds all the same"
            ),
        }));
    }
    let store = Store::new(&args.snapshots);
    for case in &plan.cases {
        // A snapshot that cannot be read is reported now, not after an hour of measuring.
        store.accepted(&case.id).map_err(CliError::input)?;
    }
    Ok(plan)
}

fn replayer<'a>(args: &ReplayArgs, settings: &'a ReplaySettings, policy: Policy, answerer: &'a Answerer) -> Replayer<'a> {
    let backend = answerer.backend.as_ref();
    Replayer {
        driver: Driver::new(backend, settings.retries),
        store: Store::new(&args.snapshots),
        policy,
        settings,
        known_answers: None,
        info: Info {
            model: model_name(args, backend),
            tool_format: answerer.tool_format.into(),
            digest: answerer.digest.clone(),
            ..Info::default()
        },
        expression: format!("tool_choice {}, max_tokens {}", args.tool_choice.name(), args.max_tokens),
    }
}

/// The accepted snapshots whose traces are gone. None with a filter, which leaves traces out on purpose.
fn without_trace(args: &ReplayArgs, plan: &Plan) -> Result<Vec<PathBuf>, CliError> {
    if !args.filter.is_empty() {
        return Ok(Vec::new());
    }
    let store = Store::new(&args.snapshots);
    let replayed: HashSet<PathBuf> = plan.cases.iter().map(|case| store.accepted_path(&case.id)).collect();
    let mut gone = store.without_trace(&args.traces).map_err(CliError::input)?;
    gone.retain(|snapshot| !replayed.contains(snapshot));
    Ok(gone)
}

/// One invocation: what is replayed, against what, and where the figures go.
struct Replay {
    plan: Plan,
    /// Accepted snapshots whose traces are gone.
    without_trace: Vec<PathBuf>,
    settings: ReplaySettings,
    target: ReplayTarget,
    files: ResultFiles,
    /// Whether traces with unreadable requests are no failure.
    allow_skips: bool,
    /// Whether to print the rules that would make repeats equal.
    learn: bool,
    /// Whether to print histograms.
    histogram: bool,
    /// Width of the widest name, in terminal columns.
    id_width: usize,
}

/// How far the plan was carried out.
enum RunEnd {
    /// All cases were run.
    Whole,
    /// This signal stopped it.
    Interrupted(Signal),
    /// The backend is gone, so that the remaining cases would fail too.
    Unreachable(BackendError),
}

impl Replay {
    fn new(args: &ReplayArgs, settings: ReplaySettings, plan: Plan, without_trace: Vec<PathBuf>, answerer: &Answerer) -> Self {
        let backend = answerer.backend.as_ref();
        let states = match Driver::new(backend, 0).state_control() {
            StateControl::Cache(_) => States::CacheControl,
            StateControl::Salt => States::Salt,
        };
        let widths = plan.cases.iter().map(|case| console::measure_text_width(&case.id.to_string()));
        Self {
            id_width: widths.max().unwrap_or(0),
            settings,
            target: ReplayTarget {
                backend: args.backend.clone(),
                model: model_name(args, backend),
                digest: answerer.digest.clone(),
                tool_format: answerer.tool_format.into(),
                host: host_name(),
                states,
            },
            allow_skips: args.allow_skips,
            learn: args.learn,
            histogram: args.histogram,
            files: ResultFiles::of(args),
            plan,
            without_trace,
        }
    }

    /// Carries out the plan and prints the results, also if it ends early.
    async fn run(&self, replayer: &Replayer<'_>, expectations: &Expectations) -> Result<ExitCode, CliError> {
        self.write_files(&[])?;
        for snapshot in &self.without_trace {
            say(format!("warning: {}: its trace is gone, so nothing tests it", snapshot.display()));
        }
        self.files.print(&terminal::header(&self.target, &self.settings, self.plan.cases.len()))?;
        let mut results = Vec::new();
        let completion = self.run_cases(replayer, &mut results).await;
        let mut report = self.report(&results);
        if matches!(completion, Ok(RunEnd::Whole)) {
            expectations.compare(&mut report);
        }
        self.print_end(&report, replayer.policy)?;
        tokio::task::block_in_place(|| {
            self.files.finish(&report)?;
            GitHub::from_environment().append_summary(&report)
        })?;
        match completion? {
            RunEnd::Whole => Ok(ExitCode::from(report.summary.exit_code())),
            RunEnd::Interrupted(signal) => Ok(ExitCode::from(exit_code_of(signal))),
            RunEnd::Unreachable(error) => Err(backend_error(error)),
        }
    }

    /// Prints what there is to say of all cases together.
    fn print_end(&self, report: &Report, policy: Policy) -> Result<(), CliError> {
        self.files.print(&terminal::latency(report))?;
        if self.histogram {
            self.files.print(&terminal::histograms(report))?;
        }
        self.files.print(&terminal::speed(report))?;
        self.files.print(&terminal::free_fidelity(report))?;
        self.files.print(&terminal::margins(report))?;
        self.files.print(&terminal::details(report, self.id_width))?;
        self.files.print(&terminal::closing(report, policy))?;
        if self.learn {
            self.files.print(&learnt::to_toml(&self.learnt(report.cases)))?;
        }
        self.files.print(&GitHub::from_environment().annotations(report))
    }

    /// Runs one case after the other. The result files are written all the while, so that a later failure loses little.
    async fn run_cases(&self, replayer: &Replayer<'_>, results: &mut Vec<CaseResult>) -> Result<RunEnd, CliError> {
        let (progress, mut pace) = (progress_bar(self.plan.measurements()), Pace::default());
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
            progress.suspend(|| self.files.print(&terminal::case_line(&result, self.id_width)))?;
            results.push(result);
            pace.write(|| self.write_files(results))?;
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

    fn write_files(&self, results: &[CaseResult]) -> Result<(), CliError> {
        tokio::task::block_in_place(|| self.files.write(&self.report(results)))
    }

    /// The match rules that applied to no call. None unless all traces were replayed: a part of them need not use every rule.
    fn unused_rules(&self, results: &[CaseResult]) -> Vec<Rule> {
        let is_whole = results.len() == self.plan.cases.len() && self.settings.filter.is_empty();
        let rules = self.settings.matching.rules.iter().filter(|_| is_whole);
        rules.filter(|rule| !results.iter().any(|result| result.has_use_for(rule))).cloned().collect()
    }

    /// What would make the repeats of each trace equal.
    fn learnt(&self, results: &[CaseResult]) -> Learnt {
        let mut learnt = Learnt::default();
        for result in results {
            let outcomes: Vec<_> = result.measurements.iter().map(|measurement| &measurement.outcome).collect();
            learnt.add(&outcomes, &self.settings.matching);
        }
        learnt
    }

    fn report<'a>(&'a self, results: &'a [CaseResult]) -> Report<'a> {
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
