//! `anyclaude record`: the recording proxy, running until a signal comes or around a child command.

mod progress;
mod session_name;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::mpsc::UnboundedReceiver;

pub(super) use self::progress::RecordingProgress;
pub(super) use self::session_name::{is_time, open_by_time};
use super::allow::AllowArgs;
use super::child::{Child, environment};
use super::signals::{self, Signals};
use super::{CliError, blocking, say};
use crate::record::{Door, Notice, RecordError, Recorder, RecordingSession, Upstream, remove_empty};
use crate::trace::redact::Redactor;

/// The port of a recorder without a command: always the same, so that a client's settings can stay.
const DEFAULT_PORT: u16 = 8082;

/// Record Claude Code's exchanges with any upstream as trace files
///
/// A reverse proxy: it streams everything through unchanged and writes each exchange under /v1/ to
/// <OUT>/<SESSION>/<number>.json, without its secrets, before the client sees the end of the answer.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RecordArgs {
    /// Base URL to send requests on to
    #[arg(long, value_name = "URL", default_value = "https://api.anthropic.com")]
    upstream: String,
    /// Port to listen on at 127.0.0.1; 0 picks a free one [default: 8082; with a command: 0]
    #[arg(long)]
    port: Option<u16>,
    /// Folder for the sessions
    #[arg(long, value_name = "DIR", default_value = "traces")]
    out: PathBuf,
    /// Name of the session, which is the folder of its traces [default: date and time, UTC]
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    #[command(flatten)]
    allow: AllowArgs,
    /// Command to run with ANTHROPIC_BASE_URL set to the recorder; its exit code is passed on
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude record -- claude                            record a session with Anthropic's API
  anyclaude record --upstream http://127.0.0.1:8081 -- claude -p \"Read hello.txt\"
  anyclaude record --port 8082                          record until Ctrl-C; point any client at it";

/// Records until a signal comes, the second of which ends at once, or until the command ends.
pub(super) async fn run(args: RecordArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let RecordArgs { upstream, port, out, session, allow, command } = args;
    let door = Door { allowed: allow.allowed(), token: None };
    let upstream = Upstream::parse(&upstream).map_err(record_error)?;
    let port = port.unwrap_or(if command.is_empty() { DEFAULT_PORT } else { 0 });
    let (session, folder, made) = blocking(move || {
        let session = match session {
            Some(name) => RecordingSession::open(&out, &name),
            None => open_by_time(&out),
        };
        let session = session.map_err(record_error)?;
        let folder = out.join(session.name());
        let made = session.made_folders().to_vec();
        Ok((session, folder, made))
    })
    .await?;
    let outcome = match &command[..] {
        [] => record_until_signal(RecorderOptions { upstream, port, session, door, redactor }, &folder).await,
        command => record_command(RecorderOptions { upstream, port, session, door, redactor }, &folder, command).await,
    };
    remove_if_empty(made).await;
    outcome
}

/// What a recorder is started with.
struct RecorderOptions<'a> {
    upstream: Upstream,
    port: u16,
    session: RecordingSession,
    door: Door,
    redactor: &'a Redactor,
}

async fn record_until_signal(recording: RecorderOptions<'_>, folder: &Path) -> Result<ExitCode, CliError> {
    let upstream = recording.upstream.clone();
    let stop = signals::stop(&signals::ENDING, || ()).map_err(CliError::backend)?;
    let (recorder, notices, address) = recording.bind().await?;
    let arrow = format!("{address} → {upstream}, into {}", folder.display());
    say(format_args!("recording {arrow}"));
    say(format_args!("point Claude Code at it: ANTHROPIC_BASE_URL={address} claude"));
    say("stop with Ctrl-C");
    let mut progress = RecordingProgress::visible(&arrow);
    observe(recorder.run(stop), notices, |notice| progress.take(notice)).await;
    say(progress.summary(folder));
    progress.exit_code(0)
}

async fn record_command(recording: RecorderOptions<'_>, folder: &Path, command: &[String]) -> Result<ExitCode, CliError> {
    let upstream = recording.upstream.clone();
    let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
    let (recorder, notices, address) = recording.bind().await?;
    let child = Child::start(command, environment(&address, &upstream))?;
    say(format_args!("recording {address} → {upstream}, into {}", folder.display()));
    let mut progress = RecordingProgress::silent();
    let code = observe(recorder.run(child.wait(&mut signals)), notices, |notice| progress.take(notice)).await?;
    say(progress.summary(folder));
    progress.exit_code(code)
}

impl RecorderOptions<'_> {
    /// A listening recorder, its notices, and its base URL.
    async fn bind(self) -> Result<(Recorder, UnboundedReceiver<Notice>, String), CliError> {
        let Self { upstream, port, session, door, redactor } = self;
        let (recorder, notices) = Recorder::bind(upstream, port, session, door, redactor).await.map_err(record_error)?;
        let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
        Ok((recorder, notices, address))
    }
}

/// Removes the folders that were made for a session, as far as they are empty.
pub(super) async fn remove_if_empty(made: Vec<PathBuf>) {
    let removal = move || {
        remove_empty(&made);
        Ok(())
    };
    // Fails only if the removal panicked.
    blocking(removal).await.ok();
}

/// Runs the recorder to its end, and meanwhile passes on its notices.
pub(super) async fn observe<T>(
    recording: impl Future<Output = T>,
    mut notices: UnboundedReceiver<Notice>,
    mut take: impl FnMut(Notice),
) -> T {
    let mut recording = std::pin::pin!(recording);
    let outcome = loop {
        tokio::select! {
            outcome = &mut recording => break outcome,
            Some(notice) = notices.recv() => take(notice),
        }
    };
    while let Ok(notice) = notices.try_recv() {
        take(notice);
    }
    outcome
}

/// The error with this command's flag that helps.
fn record_error(error: RecordError) -> CliError {
    match error {
        RecordError::Upstream { .. } => CliError::input(format!("--upstream {error}")),
        RecordError::SessionName { .. } => CliError::input(format!("--session {error}")),
        RecordError::Folder { .. } => CliError::input(format!("{error}; choose another folder with --out")),
        RecordError::InUse { .. } => CliError::input(format!("{error}; choose another name with --session")),
        other => port_error(other),
    }
}

/// The errors that read the same with every command that has `--port`.
pub(super) fn port_error(error: RecordError) -> CliError {
    match error {
        RecordError::PortInUse { .. } => {
            CliError::backend(format!("{error}; stop what listens there, or choose another with --port (0: any free one)"))
        }
        RecordError::Bind { .. } => CliError::backend(format!("{error}; choose another port with --port (0: any free one)")),
        other => CliError::backend(other),
    }
}
