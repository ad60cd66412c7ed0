//! `anyclaude check tools`: each tool once through the real loop, from the client over the model to the file system.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use console::style;
use tokio::process::Command;

use super::tools_task::{TASKS, Task};
use crate::cli::child::{check_program, environment};
use crate::cli::launch::{Flags, Origin, launch_error, variables_of};
use crate::cli::{CliError, print, say};
use crate::config::{self, Settings};
use crate::record::{Recorder, Session, Upstream};
use crate::trace::{self, Trace};

/// Have the real client use Read, Write, Edit and Bash, each in a folder of its own, and see what came of it
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// How long each tool may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience_s: u64,
}

/// Runs the tasks and prints a line for each. Whether all passed.
pub async fn run(args: Args) -> Result<bool, CliError> {
    let mut settings = config::load(&args.flags)?.settings;
    check_program(&settings.client)?;
    if settings.client.contains('/') {
        // Each task runs the client in another folder.
        let client = std::path::absolute(&settings.client).map_err(CliError::input)?;
        settings.client = client.to_string_lossy().into_owned();
    }
    let origin = Origin::of(&settings).await?;
    let upstream = origin.upstream().clone();
    let running = origin.start(&settings).await?;
    say(format_args!("checking the tools of {} with {}", running.name(), settings.client));
    let patience = Duration::from_secs(args.patience_s);
    let mut passed = 0;
    for task in &TASKS {
        let started = Instant::now();
        let verdict = attempt(task, &settings, &upstream, patience).await?;
        passed += usize::from(verdict.is_ok());
        print(&line(task, &verdict, started.elapsed()))?;
    }
    running.stop().await;
    print(&format!("{passed} of {} tools work\n", TASKS.len()))?;
    Ok(passed == TASKS.len())
}

fn line(task: &Task, verdict: &Result<(), String>, took: Duration) -> String {
    let took_s = took.as_secs_f64();
    match verdict {
        Ok(()) => format!("{}  {:<5}  {took_s:>6.1} s\n", style("pass").green(), task.tool),
        Err(reason) => format!("{}  {:<5}  {took_s:>6.1} s  {reason}\n", style("FAIL").red(), task.tool),
    }
}

/// One task: the client runs to its end, then its traces and its folder are judged.
async fn attempt(
    task: &Task,
    settings: &Settings,
    upstream: &Upstream,
    patience: Duration,
) -> Result<Result<(), String>, CliError> {
    let folder = tempfile::tempdir().map_err(CliError::backend)?;
    let traces = tempfile::tempdir().map_err(CliError::backend)?;
    task.prepare(folder.path()).map_err(CliError::backend)?;
    let session = Session::open(traces.path(), "check").map_err(launch_error)?.with_mode(settings.mode.name());
    let (recorder, _notices) = Recorder::bind(upstream.clone(), 0, session).await.map_err(launch_error)?;
    let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
    let mut client = client(task, settings, folder.path());
    client.envs(environment(&address, upstream.is_loopback())).envs(variables_of(settings));
    let Ok(ended) = recorder.run(tokio::time::timeout(patience, client.output())).await else {
        return Ok(Err(format!("the client did not end in {} s", patience.as_secs())));
    };
    ended.map_err(|error| CliError::input(format!("cannot start {}: {error}", settings.client)))?;
    let judged = tokio::task::block_in_place(|| read(traces.path()).map(|traces| task.judge(folder.path(), &traces)));
    judged.or_else(|error| Ok(Err(format!("the client sent nothing: {error}"))))
}

fn client(task: &Task, settings: &Settings, folder: &Path) -> Command {
    let mut client = Command::new(&settings.client);
    client.args(["-p", task.prompt, "--allowedTools", "Read,Write,Edit,Bash", "--permission-mode", "acceptEdits"]);
    client.args(["--max-turns", "8"]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    client
}

fn read(folder: &Path) -> Result<Vec<Trace>, trace::TraceError> {
    trace::find(&[folder.to_owned()])?.iter().map(|file| trace::read(file)).collect()
}
