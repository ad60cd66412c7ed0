//! `anyclaude` without a subcommand: starts what the mode needs, runs the client on it, sums up.
//!
//! The client always talks to a recorder in this process, which streams everything through and reports what it saw; with
//! `--record` it also writes traces. Behind the recorder is a server elsewhere, or one of our own on a backend in this process.

mod backend;
mod errors;
mod modes;
mod origin;
mod recording;
mod summary;
#[cfg(feature = "mlx")]
mod warm_up;

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) use self::backend::LaunchBackend;
pub(super) use self::errors::launch_error;
pub(super) use self::modes::{AnswerSource, sources};
pub(super) use self::origin::Origin;
use self::origin::{RunningOrigin, allowed};
use self::recording::Recording;
use self::summary::LaunchSummary;
use super::child::{Child, check_program, environment, token_variable};
use super::client_limits::client_limits;
use super::record::{Prices, RecordingProgress, observe};
use super::signals::{self, Signals};
use super::{CliError, blocking, choices, say};
use crate::config::{self, Mode, Settings};
use crate::record::{Door, Notice, Recorder, RecordingSession};
use crate::server::RunToken;
use crate::trace::redact::Redactor;

/// The launcher's arguments: settings, and what is passed on to the client.
#[derive(clap::Args, Debug)]
pub(super) struct LaunchArgs {
    #[command(flatten)]
    flags: LaunchFlags,
    /// Arguments for the client
    #[arg(last = true, value_name = "CLIENT ARGUMENTS")]
    client_arguments: Vec<String>,
}

/// The settings that have a flag, for every command that starts what a mode needs. Those that are not given are left to the
/// configuration.
#[derive(clap::Args, Debug, Serialize)]
pub(super) struct LaunchFlags {
    /// What answers the client [default: mlx]
    #[arg(long, value_parser = choices::mode())]
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    /// With mode mlx: the model's folder, or the name of a pulled model [default: tiny, which is in this program]. With other
    /// modes: the model to ask for [default: the one that the client asks for]
    #[arg(long, value_name = "DIR|NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Base URL of the server that answers, for every mode but mlx [default: the mode's own; claude: ANTHROPIC_BASE_URL, if it is
    /// set]
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    /// Port on 127.0.0.1 that the client is pointed at [default: 0, any free one]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Client to run: a name on PATH, or a path [default: claude]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Record the run as traces [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<bool>,
    /// The only tools that the model gets to see [default: all]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools_only: Vec<String>,
    /// Shorten the descriptions of tools [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    compact_tools: Option<bool>,
    /// Modes to ask, in this order, when the chosen one is down or overloaded [default: none]
    #[arg(long, value_parser = choices::mode(), hide_possible_values = true, value_delimiter = ',', value_name = "MODE,MODE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallback: Vec<Mode>,
}

impl LaunchFlags {
    /// The settings, with these flags over all others.
    pub(super) fn load(&self) -> Result<config::Loaded, CliError> {
        let loaded = config::load(self)?;
        if loaded.settings.mode == Mode::Mlx && self.base_url.is_some() && loaded.settings.fallback.is_empty() {
            let hint = "--base-url: in mode mlx no server answers; name another mode with --mode, such as openai";
            return Err(CliError::input(hint));
        }
        Ok(loaded)
    }

    /// Whether `--record` is given.
    pub(super) fn asks_to_record(&self) -> bool {
        self.record == Some(true)
    }
}

/// Runs the client from its start to its end. Its exit code is ours.
pub(super) async fn run(args: LaunchArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let LaunchArgs { flags, client_arguments } = args;
    let (settings, project) = blocking(move || {
        let loaded = flags.load()?;
        let (project, settings) = (loaded.project_of_traces(), loaded.settings);
        check_program(&settings.client)?;
        Ok((settings, project))
    })
    .await?;
    let origin = Origin::of(&settings).await?;
    let (recording, session) = blocking({
        let settings = settings.clone();
        move || Recording::open(&settings, project.as_deref())
    })
    .await?;
    let launch = Launch { settings, recording, client_arguments, started };
    let outcome = launch.run(origin, session, redactor).await;
    launch.recording.end().await;
    outcome
}

/// A launch whose settings are checked.
struct Launch {
    settings: Settings,
    recording: Recording,
    client_arguments: Vec<String>,
    /// When the user started us.
    started: Instant,
}

/// A finished run of the client.
struct Observed {
    /// The client's exit code.
    code: u8,
    summary: LaunchSummary,
    progress: RecordingProgress,
}

impl Launch {
    async fn run(&self, origin: Origin, session: RecordingSession, redactor: &Redactor) -> Result<ExitCode, CliError> {
        let upstream = origin.upstream().clone();
        let token = RunToken::random().map_err(CliError::backend)?;
        let door = Door { allowed: allowed(&self.settings)?, token: Some(token.clone()) };
        let bound = Recorder::bind(upstream.clone(), self.settings.port, session, door, redactor).await;
        let (recorder, notices) = bound.map_err(launch_error)?;
        let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
        let origin = origin.start(&self.settings).await?;
        #[cfg(feature = "mlx")]
        warm_up::warm_up(&origin, &self.settings).await?;
        // Only now: while the model loads, a Ctrl-C is to end us.
        let signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
        let (client, ready_s) = (&self.settings.client, self.started.elapsed().as_secs_f64());
        say(format_args!("ready in {ready_s:.1} s: {} answers {client} at {address}", origin.name()));
        let mut variables = environment(&address, &upstream);
        variables.push(token_variable(&token));
        variables.extend(client_variables(&self.settings));
        let limits = client_limits(origin.limits());
        // They go together, and whoever has set one of them knows why.
        if limits.iter().all(|(name, _)| std::env::var_os(name).is_none()) {
            variables.extend(limits);
        }
        let child = Child::start(&self.command(), variables)?;
        let observed = observe_client(child, signals, recorder, notices).await?;
        self.sum_up(origin, observed).await
    }

    /// The client and its arguments.
    fn command(&self) -> Vec<String> {
        [std::slice::from_ref(&self.settings.client), &self.client_arguments].concat()
    }

    /// Stops what answered and says what the run took, and what came of it.
    async fn sum_up(&self, origin: RunningOrigin, observed: Observed) -> Result<ExitCode, CliError> {
        let Observed { code, summary, progress } = observed;
        let summary = summary.with_saved_seconds(origin.saved_seconds());
        let (answered, savings) = (origin.answered(), origin.savings().await);
        origin.stop().await;
        say(summary);
        answered.iter().chain(&savings).for_each(say);
        if let Some(folder) = self.recording.folder() {
            say(progress.summary(folder));
        }
        progress.exit_code(code)
    }
}

/// Waits for the client's end, and meanwhile passes on signals and takes in what the recorder reports.
async fn observe_client(
    child: Child,
    mut signals: Signals,
    recorder: Recorder,
    notices: UnboundedReceiver<Notice>,
) -> Result<Observed, CliError> {
    let (mut progress, mut summary) = (RecordingProgress::silent(Prices::new()), LaunchSummary::default());
    let code = observe(recorder.run(child.wait(&mut signals)), notices, |notice| {
        summary.take(&notice);
        progress.take(notice);
    })
    .await?;
    Ok(Observed { code, summary, progress })
}

/// The client's environment besides the address.
///
/// Except when the reference is recorded, the client leaves a line out of its prompts that changes with each of its versions,
/// since that would keep prompts from beginning alike. A server elsewhere may not know Anthropic's models: the configured one
/// takes the place of all names that the client uses.
pub(super) fn client_variables(settings: &Settings) -> Vec<(&'static str, String)> {
    const MODEL_NAMES: [&str; 4] =
        ["ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"];
    let mut variables = Vec::new();
    if settings.mode != Mode::Claude {
        variables.push(("CLAUDE_CODE_ATTRIBUTION_HEADER", "0".to_owned()));
    }
    if settings.mode.passes_through()
        && let Some(model) = settings.of_mode(settings.mode).model
    {
        variables.extend(MODEL_NAMES.map(|name| (name, model.clone())));
    }
    variables
}
