//! `anyclaude replay`: drives recorded traces against a backend, prints the report, writes the figures.

mod backend;
mod result_files;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rustix::process::Signal;

use self::backend::{backend_error, connect, model_name};
use self::result_files::ResultFiles;
use super::signals::{self, Signals, exit_code_of};
use super::{CliError, choices, in_ci, print};
use crate::backend::{Backend, BackendError};
use crate::replay::{
    CaseResult, Driver, Ending, Phase, Plan, Policy, ReplaySettings, ReplaySummary, Replayer, StateControl, ToolChoiceMode,
};
use crate::report::{ReplayTarget, Report, States, terminal};
use crate::snapshot::{Info, Store};
use crate::trace;

/// Replay recorded traces: compare the tool calls with the accepted snapshots, time cold, warm and cached requests
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReplayArgs {
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    traces: Vec<PathBuf>,

    /// What answers: `mlx`, the engine in this process, or the base URL of a server
    #[arg(long, default_value = "mlx", value_name = "mlx|URL")]
    backend: String,

    /// With `mlx`: the model's folder, or the name of a pulled model [default: fixtures/models/tiny]. With a URL: the model to ask for
    /// [default: as recorded]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,

    /// With `mlx`: how the model writes tool calls [default: as its chat template does]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "FORMAT", value_parser = choices::tool_format())]
    tool_format: Option<crate::engine::decode::ToolFormatName>,

    /// States of the prefix cache in which to measure
    #[arg(long, value_parser = choices::phase(), value_delimiter = ',', default_value = "cold,warm,cached")]
    phases: Vec<Phase>,

    /// How often to measure each phase of each trace
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Only traces whose `session/seq` contains this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    max_tokens: u32,

    /// Which tool the model must call
    #[arg(long, value_parser = choices::tool_choice(), default_value = "recorded")]
    tool_choice: ToolChoiceMode,

    /// Folder of the accepted snapshots
    #[arg(long, default_value = "snapshots", value_name = "DIR")]
    snapshots: PathBuf,

    /// Accept every outcome without a review
    #[arg(long)]
    update: bool,

    /// Only compare, without writing pending snapshots
    #[arg(long, conflicts_with = "update")]
    check: bool,

    /// Write all figures and the raw data of every measurement to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write HdrHistogram percentile files to this folder, one for each phase and metric
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  anyclaude replay                                        traces/ on the model in fixtures/models/tiny
  anyclaude replay --filter read-file --phases cold,cached --repeat 5
  anyclaude replay --backend http://127.0.0.1:8081 --json figures.json

Exit codes:
  0    every outcome is as accepted
  1    an outcome changed or has no snapshot yet, or cold, warm and cached gave different tool calls
  2    wrong usage, or input that cannot be read
  3    the backend failed, or a phase did not happen
  130  stopped with Ctrl-C (143: with SIGTERM); what was measured until then is printed

With CI set in the environment, nothing is written to the snapshots folder.";

/// Replays the traces and prints the report.
pub async fn run(args: ReplayArgs) -> Result<ExitCode, CliError> {
    let policy = policy(&args, in_ci())?;
    let plan = tokio::task::block_in_place(|| plan(&args))?;
    let backend = connect(&args, &plan.betas).await?;
    let replay = Replay::new(&args, plan, backend.as_ref());
    replay.run(&replayer(&args, policy, backend.as_ref())).await
}

/// What may be written to the snapshots folder. In CI nothing is, and asking for it is a mistake.
fn policy(args: &ReplayArgs, ci: bool) -> Result<Policy, CliError> {
    match (args.update, args.check || ci) {
        (true, _) if ci => Err(CliError::input("--update with CI set: accepting is for people; unset CI to accept on purpose")),
        (true, _) => Ok(Policy::Update),
        (false, true) => Ok(Policy::Check),
        (false, false) => Ok(Policy::Pend),
    }
}

impl ReplayArgs {
    fn settings(&self) -> ReplaySettings {
        let phases = Phase::ALL.into_iter().filter(|phase| self.phases.contains(phase)).collect();
        ReplaySettings {
            phases,
            repeat: self.repeat,
            max_tokens: self.max_tokens,
            tool_choice: self.tool_choice,
            filter: self.filter.clone(),
        }
    }

    fn is_in_process(&self) -> bool {
        self.backend == "mlx"
    }
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
                Ending::Finished | Ending::Failed(BackendError::Answered { .. } | BackendError::Protocol { .. }) => {}
                Ending::Failed(error @ BackendError::Unreachable { .. }) => return Ok(Completion::Unreachable(error)),
                Ending::Interrupted => {
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
        let summary = ReplaySummary::new(results, self.plan.cases.len(), self.plan.skipped.len());
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
