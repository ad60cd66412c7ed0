//! `anyclaude replay`: drives recorded traces against a backend, prints the report, writes the figures.

mod args;
mod backend;
mod result_files;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rustix::process::Signal;

pub(super) use self::args::ReplayArgs;
use self::backend::{backend_error, connect, model_name};
use self::result_files::ResultFiles;
use super::signals::{self, Signals, exit_code_of};
use super::{CliError, print, say};
use crate::backend::{Backend, BackendError};
use crate::replay::{CaseEnding, CaseResult, Driver, Phase, Plan, Policy, ReplaySettings, ReplaySummary, Replayer, StateControl};
use crate::report::{ReplayTarget, Report, States, terminal};
use crate::snapshot::{Info, Store};
use crate::trace;

/// Replays the traces and prints the report.
pub(super) async fn run(args: ReplayArgs) -> Result<ExitCode, CliError> {
    let policy = args.policy()?;
    let plan = tokio::task::block_in_place(|| plan(&args))?;
    let backend = connect(&args, &plan.betas).await?;
    let replay = Replay::new(&args, plan, backend.as_ref());
    replay.run(&replayer(&args, policy, backend.as_ref())).await
}

/// Reads the traces and plans what to do with them. Having nothing to do is an error, not a success.
fn plan(args: &ReplayArgs) -> Result<Plan, CliError> {
    let found = trace::find(&args.traces).map_err(CliError::input)?;
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace)).map_err(CliError::input);
    let traces = found.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut plan = Plan::new(traces, &args.settings()).map_err(CliError::input)?;
    if let (Some(model), false) = (&args.model, args.is_in_process()) {
        plan.cases.iter_mut().for_each(|case| case.request.model.clone_from(model));
    }
    for (path, reason) in plan.unreadable() {
        say(format!("warning: {}: skipped: {reason}", path.display()));
    }
    if plan.cases.is_empty() {
        let folders = args.traces.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(CliError::input(match plan.skipped.len() {
            0 => format!("{folders}: no trace matches --filter {}", args.filter.join(" --filter ")),
            skipped => format!("{folders}: nothing to replay; skipped {skipped}, none holds an answered Messages request"),
        }));
    }
    let store = Store::new(&args.snapshots);
    for case in &plan.cases {
        // A snapshot that cannot be read is reported now, not after an hour of measuring.
        store.accepted(&case.id).map_err(CliError::input)?;
    }
    Ok(plan)
}

fn replayer<'a>(args: &ReplayArgs, policy: Policy, backend: &'a dyn Backend) -> Replayer<'a> {
    let tool_format = if args.is_in_process() { "hermes" } else { "messages" };
    Replayer {
        driver: Driver::new(backend),
        store: Store::new(&args.snapshots),
        policy,
        info: Info { model: model_name(args, backend), tool_format: tool_format.into() },
        expression: format!("tool_choice {}, max_tokens {}", args.tool_choice.name(), args.max_tokens),
    }
}

/// One invocation: what is replayed, against what, and where the figures go.
struct Replay {
    plan: Plan,
    settings: ReplaySettings,
    target: ReplayTarget,
    files: ResultFiles,
    /// Whether traces with unreadable requests are no failure.
    allow_skips: bool,
    /// Width of the widest `session/seq`, in terminal columns.
    id_width: usize,
}

/// How far the plan was carried out.
enum Completion {
    /// All cases were run.
    Whole,
    /// This signal stopped it.
    Interrupted(Signal),
    /// The backend is gone, so that the remaining cases would fail too.
    Unreachable(BackendError),
}

impl Replay {
    fn new(args: &ReplayArgs, plan: Plan, backend: &dyn Backend) -> Self {
        let states = match Driver::new(backend).state_control() {
            StateControl::Cache(_) => States::CacheControl,
            StateControl::Salt => States::Salt,
        };
        let widths = plan.cases.iter().map(|case| console::measure_text_width(&case.id.to_string()));
        Self {
            id_width: widths.max().unwrap_or(0),
            settings: args.settings(),
            target: ReplayTarget { backend: args.backend.clone(), model: model_name(args, backend), states },
            allow_skips: args.allow_skips,
            files: ResultFiles { json: args.json.clone(), hgrm: args.hgrm.clone() },
            plan,
        }
    }

    /// Carries out the plan and prints the results, also if it ends early.
    async fn run(&self, replayer: &Replayer<'_>) -> Result<ExitCode, CliError> {
        self.write_files(&[])?;
        print(&terminal::header(&self.target, &self.settings, self.plan.cases.len()))?;
        let mut results = Vec::new();
        let completion = self.run_cases(replayer, &mut results).await;
        let report = self.report(&results);
        print(&terminal::latency(&report))?;
        print(&terminal::details(&report, self.id_width))?;
        print(&terminal::closing(&report, replayer.policy))?;
        match completion? {
            Completion::Whole => Ok(ExitCode::from(report.summary.exit_code())),
            Completion::Interrupted(signal) => Ok(ExitCode::from(exit_code_of(signal))),
            Completion::Unreachable(error) => Err(backend_error(error)),
        }
    }

    /// Runs one case after the other. The result files are written after each, so that a later failure loses nothing.
    async fn run_cases(&self, replayer: &Replayer<'_>, results: &mut Vec<CaseResult>) -> Result<Completion, CliError> {
        let progress = progress_bar(self.plan.measurements());
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
            progress.suspend(|| print(&terminal::case_line(&result, self.id_width)))?;
            results.push(result);
            self.write_files(results)?;
            match ending {
                CaseEnding::Finished | CaseEnding::Failed(BackendError::Answered { .. } | BackendError::Protocol { .. }) => {}
                CaseEnding::Failed(error @ BackendError::Unreachable { .. }) => return Ok(Completion::Unreachable(error)),
                CaseEnding::Interrupted => {
                    let signal = received.get().copied().unwrap_or(Signal::INT);
                    return Ok(Completion::Interrupted(signal));
                }
            }
        }
        Ok(Completion::Whole)
    }

    fn write_files(&self, results: &[CaseResult]) -> Result<(), CliError> {
        tokio::task::block_in_place(|| self.files.write(&self.report(results)))
    }

    fn report<'a>(&'a self, results: &'a [CaseResult]) -> Report<'a> {
        let unreadable = if self.allow_skips { 0 } else { self.plan.unreadable().count() };
        let skipped = self.plan.skipped.len() - unreadable;
        let summary = ReplaySummary { skipped, unreadable, ..ReplaySummary::new(results, self.plan.cases.len()) };
        Report::new(&self.target, &self.settings, summary, results)
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
