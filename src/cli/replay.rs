//! `anyclaude replay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::CliError;
use crate::backend::remote::RemoteBackend;
use crate::backend::{Backend, BackendError};
use crate::replay::{CaseResult, Driver, Ending, Phase, Plan, Policy, Session, Settings, StateControl, Summary, ToolChoiceMode};
use crate::report::{Report, States, Target, hgrm, terminal};
use crate::snapshot::{Info, Store, write_atomically};
use crate::trace;

/// Exit code of a replay that the user stopped, as shells give it for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

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

    /// With `mlx`, the model's folder [default: fixtures/models/tiny]; with a URL, the model name to ask for
    /// [default: as recorded]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,

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
Exit codes:
  0    every outcome is as accepted
  1    an outcome changed or has no snapshot yet, or cold, warm and cached gave different tool calls
  2    wrong usage, or input that cannot be read
  3    the backend failed, or a phase did not happen
  130  stopped with Ctrl-C; what was measured is printed

With CI set in the environment nothing is written to the snapshots folder.";

pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let policy = policy(&args, in_ci())?;
    let plan = plan(&args).await?;
    let files = ResultFiles { json: args.json.clone(), hgrm: args.hgrm.clone() };
    let backend = connect(&args).await?;
    let session = session(&args, policy, backend.as_ref());
    replay(&session, &args, plan, &files, backend.as_ref()).await
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

/// Whether the environment says that no person is watching.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
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
async fn plan(args: &Args) -> Result<Plan, CliError> {
    let (paths, settings) = (args.traces.clone(), args.settings());
    let read = move || {
        let found = trace::find(&paths).map_err(CliError::input)?;
        let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace)).map_err(CliError::input);
        found.into_iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let traces = tokio::task::spawn_blocking(read).await.map_err(CliError::input)??;
    let mut plan = Plan::new(traces, &settings).map_err(CliError::input)?;
    if let (Some(model), false) = (&args.model, args.is_in_process()) {
        plan.cases.iter_mut().for_each(|case| case.request.model.clone_from(model));
    }
    if plan.cases.is_empty() {
        let folders = args.traces.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(CliError::input(match plan.skipped.len() {
            0 => format!("{folders}: no trace matches --filter {}", args.filter.join(" --filter ")),
            skipped => format!("{folders}: nothing to replay; {skipped} traces hold no answered Messages request"),
        }));
    }
    Ok(plan)
}

async fn connect(args: &Args) -> Result<Box<dyn Backend>, CliError> {
    if args.is_in_process() {
        return in_process(args.model.as_deref().unwrap_or("fixtures/models/tiny")).await;
    }
    if !args.backend.contains("://") {
        return Err(CliError::input(format!("--backend {}: neither `mlx` nor a URL", args.backend)));
    }
    Ok(Box::new(RemoteBackend::new(&args.backend).await.map_err(backend_error)?))
}

#[cfg(feature = "mlx")]
async fn in_process(model: &str) -> Result<Box<dyn Backend>, CliError> {
    use crate::backend::mlx::MlxBackend;
    use crate::engine::EngineError;

    let folder = PathBuf::from(model);
    let loaded = tokio::task::spawn_blocking(move || MlxBackend::load(&folder, Default::default())).await;
    match loaded.map_err(CliError::backend)? {
        Ok(backend) => Ok(Box::new(backend)),
        Err(error @ EngineError::ModelFile { .. }) => Err(CliError::input(format!("{error}; --model names the model's folder"))),
        Err(error) => Err(CliError::backend(error)),
    }
}

#[cfg(not(feature = "mlx"))]
async fn in_process(_model: &str) -> Result<Box<dyn Backend>, CliError> {
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
    let settings = args.settings();
    let tool_choice = format!("{:?}", settings.tool_choice).to_lowercase();
    Session {
        driver: Driver::new(backend),
        store: Store::new(&args.snapshots),
        policy,
        info: Info { model: model_name(backend), tool_format: tool_format.into() },
        expression: format!("tool_choice {tool_choice}, max_tokens {}", settings.max_tokens),
    }
}

/// The model's name without the folders of this machine.
fn model_name(backend: &dyn Backend) -> String {
    let name = backend.model();
    let path = Path::new(&name);
    match path.file_name() {
        Some(last) if path.is_absolute() => last.to_string_lossy().into_owned(),
        _ => name,
    }
}

/// Runs the plan and prints what comes of it. Result files are written after each trace, so that a later failure loses nothing.
async fn replay(
    session: &Session<'_>,
    args: &Args,
    plan: Plan,
    files: &ResultFiles,
    backend: &dyn Backend,
) -> Result<ExitCode, CliError> {
    let settings = args.settings();
    let states = match session.driver.state_control() {
        StateControl::Cache(_) => States::CacheControl,
        StateControl::Salt => States::Salt,
    };
    let target = Target { backend: args.backend.clone(), model: model_name(backend), states };
    let id_width = plan.cases.iter().map(|case| console::measure_text_width(&case.id.to_string())).max().unwrap_or(0);

    files.write(&report(&target, &settings, &plan, &[]))?;
    print(&terminal::header(&target, &settings, plan.cases.len()));
    let progress = progress_bar(plan.measurements());
    let mut interrupt = std::pin::pin!(interrupted());
    let mut results: Vec<CaseResult> = Vec::new();
    let mut stopped = None;
    for case in &plan.cases {
        let on_measure = |phase: Phase| {
            progress.set_message(format!("{} {phase}", case.id));
            progress.inc(1);
        };
        let (result, ending) =
            session.replay(case, &plan.steps, &on_measure, interrupt.as_mut()).await.map_err(CliError::input)?;
        progress.suspend(|| print(&terminal::case_line(&result, id_width)));
        results.push(result);
        files.write(&report(&target, &settings, &plan, &results))?;
        match ending {
            Ending::Finished | Ending::Failed(BackendError::Answered { .. } | BackendError::Protocol { .. }) => {}
            // Nobody is there to answer the other traces.
            Ending::Failed(error @ BackendError::Unreachable { .. }) => stopped = Some(Err(backend_error(error))),
            Ending::Interrupted => stopped = Some(Ok(ExitCode::from(EXIT_INTERRUPTED))),
        }
        if stopped.is_some() {
            break;
        }
    }
    progress.finish_and_clear();

    let report = report(&target, &settings, &plan, &results);
    print(&terminal::latency(&report));
    print(&terminal::details(&report, id_width));
    print(&terminal::closing(&report, session.policy));
    stopped.unwrap_or_else(|| Ok(ExitCode::from(report.summary.exit_code())))
}

fn report<'a>(target: &'a Target, settings: &'a Settings, plan: &Plan, results: &'a [CaseResult]) -> Report<'a> {
    let summary = Summary::new(results, plan.cases.len(), plan.skipped.len());
    Report::new(target, settings, summary, results)
}

/// Ends when the user presses Ctrl-C. Where the signal cannot be watched, never: it then ends the process, as usual.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Counts timed requests, on stderr; hidden where that is no terminal.
fn progress_bar(measurements: usize) -> ProgressBar {
    let bar = ProgressBar::new(measurements as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_bar} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Prints to standard output. A reader who left (`| head`) is no failure.
fn print(text: &str) {
    let _ = Term::stdout().write_str(text);
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
    write_atomically(path, text.as_bytes()).map_err(|error| CliError::input(format!("{}: {error}", path.display())))
}
