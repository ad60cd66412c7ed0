//! `anyclaude replay`.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use reqwest::Url;
use reqwest::header::HeaderValue;
use rustix::process::Signal;

use super::child::{Signals, exit_code_of};
#[cfg(feature = "mlx")]
use super::model_folder::{self, ModelFolder};
use super::{CliError, in_ci, print};
use crate::backend::remote::RemoteBackend;
use crate::backend::{Backend, BackendError};
use crate::replay::{CaseResult, Driver, Ending, Phase, Plan, Policy, Session, Settings, StateControl, Summary, ToolChoiceMode};
use crate::report::{Report, States, Target, hgrm, terminal};
use crate::snapshot::{Info, Store, write_atomically};
use crate::trace;

/// Replay recorded traces; compare the tool calls with the accepted snapshots; time cold, warm and cached requests
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    traces: Vec<PathBuf>,

    /// What answers: `mlx` for the engine in this process, or the base URL of a server
    #[arg(long, default_value = "mlx", value_name = "mlx|URL")]
    backend: String,

    /// With `mlx`, the model's folder, or the name of a pulled model [default: fixtures/models/tiny]; with a URL, the model name to ask for
    /// [default: as recorded]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,

    /// With `mlx`, how the model writes tool calls [default: as its chat template does]
    #[cfg(feature = "mlx")]
    #[arg(long, value_enum, value_name = "FORMAT")]
    tool_format: Option<crate::engine::decode::ToolFormatName>,

    /// States of the prefix cache to measure in
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cold,warm,cached")]
    phases: Vec<Phase>,

    /// Measure each phase of each trace this often
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Only traces whose `session/seq` contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,

    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    max_tokens: u32,

    /// Which tool must be called
    #[arg(long, value_enum, default_value = "recorded")]
    tool_choice: ToolChoiceMode,

    /// Folder of the accepted snapshots
    #[arg(long, default_value = "snapshots", value_name = "DIR")]
    snapshots: PathBuf,

    /// Accept every outcome without review
    #[arg(long)]
    update: bool,

    /// Only compare: write no pending snapshots
    #[arg(long, conflicts_with = "update")]
    check: bool,

    /// Write all figures, raw data of every run included, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write HdrHistogram percentile files, one for each phase and metric, to this folder
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
  130  stopped with Ctrl-C (143: with SIGTERM); what was measured is printed

With CI set in the environment nothing is written to the snapshots folder.";

pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let policy = policy(&args, in_ci())?;
    let plan = tokio::task::block_in_place(|| plan(&args))?;
    let backend = connect(&args, &plan.betas).await?;
    let replay = Replay::new(&args, plan, backend.as_ref());
    replay.run(&session(&args, policy, backend.as_ref())).await
}

/// What may be written. In CI nothing is, and asking for it is a mistake.
fn policy(args: &Args, ci: bool) -> Result<Policy, CliError> {
    match (args.update, args.check || ci) {
        (true, _) if ci => Err(CliError::input("--update with CI set: accepting is for people; unset CI to accept on purpose")),
        (true, _) => Ok(Policy::Update),
        (false, true) => Ok(Policy::Check),
        (false, false) => Ok(Policy::Pend),
    }
}

impl Args {
    fn settings(&self) -> Settings {
        let phases = Phase::ALL.into_iter().filter(|phase| self.phases.contains(phase)).collect();
        Settings {
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

/// Reads the traces and plans what to do with them; nothing to do is an error, never a green run.
fn plan(args: &Args) -> Result<Plan, CliError> {
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
        // A snapshot that cannot be read should say so now, not after an hour of measuring.
        store.accepted(&case.id).map_err(CliError::input)?;
    }
    Ok(plan)
}

async fn connect(args: &Args, betas: &[String]) -> Result<Box<dyn Backend>, CliError> {
    if args.is_in_process() {
        return in_process(args).await;
    }
    if !Url::parse(&args.backend).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        let given = &args.backend;
        return Err(CliError::input(format!("--backend {given}: neither `mlx` nor a URL that starts with http:// or https://")));
    }
    let backend = RemoteBackend::new(&args.backend).await.map_err(backend_error)?;
    if betas.is_empty() {
        return Ok(Box::new(backend));
    }
    let names = HeaderValue::from_str(&betas.join(","));
    let names = names.map_err(|error| CliError::input(format!("anthropic-beta of the traces: {error}; record them again")))?;
    Ok(Box::new(backend.with_betas(names)))
}

#[cfg(feature = "mlx")]
async fn in_process(args: &Args) -> Result<Box<dyn Backend>, CliError> {
    let folder = PathBuf::from(args.model.as_deref().unwrap_or("fixtures/models/tiny"));
    let found = ModelFolder::find(&folder);
    let folder = found.map_err(|error| CliError::input(format!("{error}; --model names the model's folder")))?;
    let options = crate::engine::EngineOptions { tool_format: args.tool_format, ..Default::default() };
    Ok(Box::new(model_folder::load(folder, options).await?))
}

#[cfg(not(feature = "mlx"))]
async fn in_process(_args: &Args) -> Result<Box<dyn Backend>, CliError> {
    Err(CliError::input("this build has no MLX engine; give a server with --backend URL"))
}

fn backend_error(error: BackendError) -> CliError {
    match error {
        BackendError::Unreachable { .. } => CliError::backend(format!("{error}; is the server running?")),
        other => CliError::backend(other),
    }
}

fn session<'a>(args: &Args, policy: Policy, backend: &'a dyn Backend) -> Session<'a> {
    let tool_format = if args.is_in_process() { "hermes" } else { "messages" };
    let tool_choice = format!("{:?}", args.tool_choice).to_lowercase();
    Session {
        driver: Driver::new(backend),
        store: Store::new(&args.snapshots),
        policy,
        info: Info { model: model_name(args, backend), tool_format: tool_format.into() },
        expression: format!("tool_choice {tool_choice}, max_tokens {}", args.max_tokens),
    }
}

/// The name of the model that answers, without the folders of this machine.
fn model_name(args: &Args, backend: &dyn Backend) -> String {
    match &args.model {
        Some(asked_for) if !args.is_in_process() => asked_for.clone(),
        _ => {
            let name = backend.model();
            let path = Path::new(&name);
            let last = path.file_name().filter(|_| path.is_absolute());
            last.map(|last| last.to_string_lossy().into_owned()).unwrap_or(name)
        }
    }
}

/// One invocation: what is replayed against what, and where the figures go.
struct Replay {
    plan: Plan,
    settings: Settings,
    target: Target,
    files: ResultFiles,
    /// The widest `session/seq`.
    id_width: usize,
}

/// What ended the traces before their end.
enum Stopped {
    /// The user, or whoever sent this signal.
    Interrupted(Signal),
    /// There is nobody to answer the other traces.
    Unreachable(BackendError),
}

impl Replay {
    fn new(args: &Args, plan: Plan, backend: &dyn Backend) -> Self {
        let states = match Driver::new(backend).state_control() {
            StateControl::Cache(_) => States::CacheControl,
            StateControl::Salt => States::Salt,
        };
        let widths = plan.cases.iter().map(|case| console::measure_text_width(&case.id.to_string()));
        Self {
            id_width: widths.max().unwrap_or(0),
            settings: args.settings(),
            target: Target { backend: args.backend.clone(), model: model_name(args, backend), states },
            files: ResultFiles { json: args.json.clone(), hgrm: args.hgrm.clone() },
            plan,
        }
    }

    /// Runs the plan and prints what comes of it, also where it ends early.
    async fn run(&self, session: &Session<'_>) -> Result<ExitCode, CliError> {
        self.write_files(&[])?;
        print(&terminal::header(&self.target, &self.settings, self.plan.cases.len()))?;
        let mut results = Vec::new();
        let stopped = self.run_cases(session, &mut results).await;
        let report = self.report(&results);
        print(&terminal::latency(&report))?;
        print(&terminal::details(&report, self.id_width))?;
        print(&terminal::closing(&report, session.policy))?;
        match stopped? {
            None => Ok(ExitCode::from(report.summary.exit_code())),
            Some(Stopped::Interrupted(signal)) => Ok(ExitCode::from(exit_code_of(signal))),
            Some(Stopped::Unreachable(error)) => Err(backend_error(error)),
        }
    }

    /// One case after the other. The result files are written after each, so that a later failure loses nothing.
    async fn run_cases(&self, session: &Session<'_>, results: &mut Vec<CaseResult>) -> Result<Option<Stopped>, CliError> {
        let progress = progress_bar(self.plan.measurements());
        let mut signals = Signals::listen().map_err(CliError::backend)?;
        let came = OnceCell::new();
        let mut interrupt = std::pin::pin!(async {
            // It is set once: this ends with the first signal.
            came.set(signals.next().await).ok();
        });
        for case in &self.plan.cases {
            let on_measure = |phase: Phase| {
                progress.set_message(format!("{} {phase}", case.id));
                progress.inc(1);
            };
            let replayed = session.replay(case, &self.plan.steps, &on_measure, interrupt.as_mut()).await;
            let (result, ending) = replayed.map_err(CliError::input)?;
            progress.suspend(|| print(&terminal::case_line(&result, self.id_width)))?;
            results.push(result);
            self.write_files(results)?;
            match ending {
                Ending::Finished | Ending::Failed(BackendError::Answered { .. } | BackendError::Protocol { .. }) => {}
                Ending::Failed(error @ BackendError::Unreachable { .. }) => return Ok(Some(Stopped::Unreachable(error))),
                Ending::Interrupted => return Ok(came.get().copied().map(Stopped::Interrupted)),
            }
        }
        Ok(None)
    }

    fn write_files(&self, results: &[CaseResult]) -> Result<(), CliError> {
        tokio::task::block_in_place(|| self.files.write(&self.report(results)))
    }

    fn report<'a>(&'a self, results: &'a [CaseResult]) -> Report<'a> {
        let summary = Summary::new(results, self.plan.cases.len(), self.plan.skipped.len());
        Report::new(&self.target, &self.settings, summary, results)
    }
}

/// Counts timed requests, on stderr; hidden where that is no terminal. Gone from the screen when it is dropped.
fn progress_bar(measurements: usize) -> ProgressBar {
    let bar = ProgressBar::new(measurements as u64).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_bar} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Where the figures go besides the terminal.
struct ResultFiles {
    json: Option<PathBuf>,
    hgrm: Option<PathBuf>,
}

impl ResultFiles {
    /// Writes what there is so far, over what was written before.
    fn write(&self, report: &Report) -> Result<(), CliError> {
        if let Some(path) = &self.json {
            write(path, &report.to_json())?;
        }
        let Some(folder) = &self.hgrm else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
        for phase in &report.latency {
            for (metric, distribution) in phase.distributions().iter().filter(|(_, distribution)| distribution.count() > 0) {
                let name = format!("{}-{}.hgrm", phase.phase, metric.to_lowercase());
                write(&folder.join(name), &hgrm::to_hgrm(distribution))?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    write_atomically(path, text.as_bytes()).map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: std::io::Error) -> CliError {
    CliError::input(format!("cannot write {}: {error}; choose another place with --json or --hgrm", path.display()))
}
