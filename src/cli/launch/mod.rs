//! `anyclaude` without a subcommand: starts what the mode needs, runs the client on it, sums up.
//!
//! The client always talks to a recorder in this process, which streams everything through and tells what it saw; with
//! `--record` it also writes it. Behind it is a server elsewhere, or one of our own on a backend in this process.

mod backends;
mod origin;
mod retention;
mod summary;
#[cfg(feature = "mlx")]
mod warm_up;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;

pub(super) use self::backends::{Answering, check};
pub(super) use self::origin::Origin;
use self::retention::keep_newest;
use self::summary::Summary;
use super::child::{Child, Signals, check_program, environment};
use super::record::{Progress, drive, open_by_time};
use super::{CliError, say};
use crate::config::{self, Mode, Settings};
use crate::record::{RecordError, Recorder, RecordingSession};

/// How to launch the client.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Arguments for the client
    #[arg(last = true, value_name = "CLIENT ARGUMENTS")]
    client_arguments: Vec<String>,
}

/// The settings that have a flag. What is not given is left to the configuration.
#[derive(clap::Args, Debug, Serialize)]
pub struct Flags {
    /// What answers the client [default: mlx]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// With mode mlx the model's folder or the name of a pulled one [default: fixtures/models/tiny], else the model to ask for [default: as the client asks]
    #[arg(long, value_name = "DIR|NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Base URL of the server that answers, for every mode but mlx [default: the mode's own; claude: ANTHROPIC_BASE_URL, if it is set]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    /// Port on 127.0.0.1 that the client is pointed at [default: 0, any free one]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Client to run, a name on PATH or a path [default: claude]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Record the run as traces [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<bool>,
    /// The only tools that the model gets to see
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools_only: Vec<String>,
    /// Shorten the descriptions of tools [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    compact_tools: Option<bool>,
    /// Modes to ask, in this order, where the chosen one is down or overloaded
    #[arg(long, value_enum, value_delimiter = ',', value_name = "MODE,MODE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallback: Vec<Mode>,
}

/// Runs the client from its start to its end. Gives its exit code.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let settings = config::load(&args.flags)?.settings;
    check_program(&settings.client)?;
    let origin = Origin::of(&settings).await?;
    let traces = settings.record.then(|| config::expand_home(&settings.traces).join(settings.mode.name()));
    let session = match &traces {
        Some(traces) => {
            let session = open_by_time(traces).map_err(launch_error)?;
            // The new session is the newest: it is among those that stay.
            keep_newest(traces, settings.keep_sessions.max(1)).map_err(|error| cannot_write(traces, &error))?;
            session
        }
        None => RecordingSession::unwritten(),
    };
    let folder = traces.map(|traces| traces.join(session.name()));
    let session = session.with_mode(settings.mode.name());
    let outcome = launch(&settings, origin, session, folder.as_deref(), args.client_arguments, started).await;
    if let Some(folder) = folder {
        // A run that recorded nothing leaves no folder; one that is not empty stays.
        tokio::fs::remove_dir(folder).await.ok();
    }
    outcome
}

async fn launch(
    settings: &Settings,
    origin: Origin,
    session: RecordingSession,
    folder: Option<&Path>,
    arguments: Vec<String>,
    started: Instant,
) -> Result<ExitCode, CliError> {
    let upstream = origin.upstream().clone();
    let (recorder, notices) = Recorder::bind(upstream.clone(), settings.port, session).await.map_err(launch_error)?;
    let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
    let running = origin.start(settings).await?;
    running.warm_up(settings).await?;
    // Only now: a Ctrl-C while the model loads ends us.
    let mut signals = Signals::listen().map_err(CliError::backend)?;
    let ready_s = started.elapsed().as_secs_f64();
    say(format_args!("ready in {ready_s:.1} s: {} answers {} at {address}", running.name(), settings.client));
    let command: Vec<String> = std::iter::once(settings.client.clone()).chain(arguments).collect();
    let mut variables = environment(&address, upstream.is_loopback());
    variables.extend(variables_of(settings));
    let child = Child::start(&command, variables)?;
    let (mut progress, mut summary) = (Progress::silent(), Summary::default());
    let code = drive(recorder.run(child.wait(&mut signals)), notices, |notice| {
        summary.take(&notice);
        progress.take(notice);
    })
    .await?;
    let savings = running.savings().await;
    let summary = summary.with_saved_seconds(running.saved_seconds());
    let answered = running.answered();
    running.stop().await;
    say(summary);
    answered.iter().chain(&savings).for_each(say);
    if let Some(folder) = folder {
        say(progress.summary(folder));
    }
    match progress.failure() {
        Some(failure) if code == 0 => Err(failure),
        _ => Ok(ExitCode::from(code)),
    }
}

/// What the client needs besides the address: a prompt without the line that changes with every version, and, where a server
/// elsewhere has models of its own, their name for each of the names that the client uses.
pub(super) fn variables_of(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if settings.mode != Mode::Claude {
        variables.push(("CLAUDE_CODE_ATTRIBUTION_HEADER", "0".to_owned()));
    }
    if let (Some(model), true) = (settings.of_mode(settings.mode).model, settings.mode.passes_through()) {
        let names = [
            "ANTHROPIC_MODEL",
            "ANTHROPIC_DEFAULT_OPUS_MODEL",
            "ANTHROPIC_DEFAULT_SONNET_MODEL",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        ];
        variables.extend(names.map(|name| (name, model.clone())));
    }
    variables
}

/// The recorder's errors in terms of this command's flags.
pub(super) fn launch_error(error: RecordError) -> CliError {
    match error {
        RecordError::Upstream { given, reason } => CliError::input(format!(
            "--base-url {given}: {reason}; give a base URL like http://127.0.0.1:8081 with --base-url, or base_url in {}",
            config::FILE_NAMES[0]
        )),
        RecordError::Folder { folder, source } => cannot_write(&folder, &source),
        other => other.into(),
    }
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> CliError {
    let file = config::FILE_NAMES[0];
    CliError::input(format!("cannot write to {}: {error}; choose another folder with traces in {file}", folder.display()))
}
