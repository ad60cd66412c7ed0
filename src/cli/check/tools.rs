//! `anyclaude check tools`: each tool once through the whole loop, from the client to the model to the file system and back.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use console::style;
use tokio::process::Command;

use super::outcome::CheckOutcome;
use super::tool_task::{TASKS, TaskOutcome, ToolTask};
use crate::cli::child::{check_program, environment, token_variable};
use crate::cli::heap::leave_to;
use crate::cli::launch::{LaunchFlags, Origin, client_variables, launch_error};
use crate::cli::{CliError, blocking, choices, print, say};
use crate::config::Settings;
use crate::record::{Door, Recorder, RecordingSession, Upstream};
use crate::server::{Allowed, RunToken};
use crate::trace::redact::Redactor;
use crate::trace::{self, Trace};

/// Have the real client use Read, Write, Edit and Bash, each in a folder of its own, and check the result
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude check tools --model mlx-community/Qwen3-4B-4bit
  anyclaude check tools --mode lmstudio --patience-s 600")]
pub(super) struct CheckToolsArgs {
    #[command(flatten)]
    flags: LaunchFlags,
    /// How long each tool may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = choices::seconds())]
    patience_s: u64,
}

/// Runs the tasks and prints a line for each. Passes if all are done.
pub(super) async fn run(args: CheckToolsArgs, redactor: &Redactor) -> Result<CheckOutcome, CliError> {
    let CheckToolsArgs { flags, patience_s } = args;
    let settings = blocking(move || settings(&flags)).await?;
    let origin = Origin::of(&settings).await?;
    let upstream = origin.upstream().clone();
    let running = origin.start(&settings).await?;
    say(format_args!("checking the tools of {} with {}", running.name(), settings.client));
    let patience = Duration::from_secs(patience_s);
    let mut passed = 0;
    for task in &TASKS {
        say(format_args!("{}: waiting for the client, {patience_s} s at most", task.tool));
        let started = Instant::now();
        let outcome = attempt(task, &settings, &upstream, redactor, patience).await?;
        passed += usize::from(matches!(outcome, TaskOutcome::Done));
        print(&line(task, &outcome, started.elapsed()))?;
    }
    running.stop().await;
    print(&format!("{passed} of {} tools work\n", TASKS.len()))?;
    Ok(CheckOutcome::passed_if(passed == TASKS.len()))
}

/// The settings, with the client's path made absolute: each task runs the client in another folder.
fn settings(flags: &LaunchFlags) -> Result<Settings, CliError> {
    if flags.asks_to_record() {
        return Err(CliError::input("--record: this check keeps no recordings; `anyclaude --record -- -p …` makes them"));
    }
    let mut settings = flags.load()?.settings;
    check_program(&settings.client)?;
    if settings.client.contains('/') {
        let client = std::path::absolute(&settings.client).map_err(CliError::input)?;
        settings.client = client.to_string_lossy().into_owned();
    }
    Ok(settings)
}

fn line(task: &ToolTask, outcome: &TaskOutcome, took: Duration) -> String {
    let took_s = took.as_secs_f64();
    match outcome {
        TaskOutcome::Done => format!("{}  {:<5}  {took_s:>6.1} s\n", style("pass").green(), task.tool),
        TaskOutcome::NotDone(reason) => format!("{}  {:<5}  {took_s:>6.1} s  {reason}\n", style("FAIL").red(), task.tool),
    }
}

/// Runs the client on one task to its end, then judges its traces and its folder.
async fn attempt(
    task: &'static ToolTask,
    settings: &Settings,
    upstream: &Upstream,
    redactor: &Redactor,
    patience: Duration,
) -> Result<TaskOutcome, CliError> {
    let mode = settings.mode.name();
    let (folder, traces, session) = blocking(move || {
        let folder = tempfile::tempdir().map_err(CliError::backend)?;
        let traces = tempfile::tempdir().map_err(CliError::backend)?;
        task.prepare(folder.path()).map_err(CliError::backend)?;
        let session = RecordingSession::open(traces.path(), "check").map_err(launch_error)?;
        Ok((folder, traces, session.with_mode(mode)))
    })
    .await?;
    let token = RunToken::random().map_err(CliError::backend)?;
    let door = Door { allowed: Allowed::default(), token: Some(token.clone()) };
    let (recorder, _notices) = Recorder::bind(upstream.clone(), 0, session, door, redactor).await.map_err(launch_error)?;
    let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
    let mut client = client(task, settings, folder.path());
    client.envs(environment(&address, upstream)).envs([token_variable(&token)]).envs(client_variables(settings));
    let Ok(ended) = recorder.run(tokio::time::timeout(patience, client.output())).await else {
        return Ok(TaskOutcome::NotDone(format!("the client did not end in {} s", patience.as_secs())));
    };
    ended.map_err(|error| CliError::input(format!("cannot start {}: {error}", settings.client)))?;
    blocking(move || {
        Ok(match read(traces.path()) {
            Ok(traces) => task.judge(folder.path(), &traces),
            Err(error) => TaskOutcome::NotDone(format!("the client sent nothing: {error}")),
        })
    })
    .await
}

fn client(task: &ToolTask, settings: &Settings, folder: &Path) -> Command {
    let mut client = Command::new(&settings.client);
    leave_to(&mut client);
    client.args(["-p", task.prompt, "--allowedTools", "Read,Write,Edit,Bash", "--permission-mode", "acceptEdits"]);
    client.args(["--max-turns", "8"]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    client
}

fn read(folder: &Path) -> Result<Vec<Trace>, trace::TraceError> {
    trace::find(&[folder.to_owned()])?.iter().map(|file| trace::read(file)).collect()
}
