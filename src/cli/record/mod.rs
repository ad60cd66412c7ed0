//! `anyclaude record`: the recording proxy, alone until a signal or around a child command.

mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) use self::progress::Progress;
use super::child::{Child, Signals, environment};
use super::{CliError, say};
use crate::record::{Notice, RecordError, Recorder, RecordingSession, Upstream};

/// Where a recorder that is started alone listens, so that the client's settings can stay.
const DEFAULT_PORT: u16 = 8082;

/// Record Claude Code's exchanges with any upstream as trace files.
///
/// A reverse proxy: it streams everything through unchanged and writes each exchange under /v1/ to
/// <OUT>/<SESSION>/<number>.json, without its secrets, before the client sees the end of the answer.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Base URL that requests are sent on to
    #[arg(long, value_name = "URL", default_value = "https://api.anthropic.com")]
    upstream: String,
    /// Port to listen on at 127.0.0.1; 0 for any free one [default: 8082; with a command: 0]
    #[arg(long)]
    port: Option<u16>,
    /// Folder for the sessions
    #[arg(long, value_name = "DIR", default_value = "traces")]
    out: PathBuf,
    /// The session's name, the folder its traces go to [default: date and time, UTC]
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Command to run with ANTHROPIC_BASE_URL set to the recorder; its exit code is passed on
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude record -- claude                            record a session with the Anthropic API
  anyclaude record --upstream http://127.0.0.1:8081 -- claude -p \"Read hello.txt\"
  anyclaude record --port 8082                          record until Ctrl-C; point any client at it";

impl From<RecordError> for CliError {
    /// The error with the flag that helps.
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Upstream { .. } => Self::input(format!("--upstream {error}")),
            RecordError::SessionName { .. } => Self::input(format!("--session {error}")),
            RecordError::Folder { .. } => Self::input(format!("{error}; choose another folder with --out")),
            RecordError::InUse { .. } => Self::input(format!("{error}; choose another name with --session")),
            RecordError::PortInUse { .. } => {
                Self::backend(format!("{error}; stop what listens there, or choose another with --port (0: any free one)"))
            }
            RecordError::Bind { .. } => Self::backend(format!("{error}; choose another port with --port (0: any free one)")),
            RecordError::Client(_) | RecordError::Thread(_) => Self::backend(error),
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode, CliError> {
    let upstream = Upstream::parse(&args.upstream)?;
    let session = match args.session {
        Some(name) => RecordingSession::open(&args.out, &name)?,
        None => open_by_time(&args.out)?,
    };
    let folder = args.out.join(session.name());
    let outcome = record(upstream, args.port, session, &folder, &args.command).await;
    // A run that recorded nothing leaves no folder; one that is not empty stays.
    tokio::fs::remove_dir(folder).await.ok();
    outcome
}

async fn record(
    upstream: Upstream,
    port: Option<u16>,
    session: RecordingSession,
    folder: &Path,
    command: &[String],
) -> Result<ExitCode, CliError> {
    let port = port.unwrap_or(if command.is_empty() { DEFAULT_PORT } else { 0 });
    let mut signals = Signals::listen().map_err(CliError::backend)?;
    let (recorder, notices) = Recorder::bind(upstream.clone(), port, session).await?;
    let address = format!("http://{}", recorder.address().map_err(CliError::backend)?);
    let arrow = format!("{address} → {upstream}, into {}", folder.display());
    if command.is_empty() {
        say(format_args!("recording {arrow}"));
        say(format_args!("point Claude Code at it: ANTHROPIC_BASE_URL={address} claude"));
        say("stop with Ctrl-C");
        let mut progress = Progress::visible(&arrow);
        drive(recorder.run(signals.next()), notices, |notice| progress.take(notice)).await;
        say(progress.summary(folder));
        progress.failure().map_or(Ok(ExitCode::SUCCESS), Err)
    } else {
        let child = Child::start(command, environment(&address, upstream.is_loopback()))?;
        say(format_args!("recording {arrow}"));
        let mut progress = Progress::silent();
        let code = drive(recorder.run(child.wait(&mut signals)), notices, |notice| progress.take(notice)).await?;
        say(progress.summary(folder));
        match progress.failure() {
            Some(failure) if code == 0 => Err(failure),
            _ => Ok(ExitCode::from(code)),
        }
    }
}

/// Runs the recorder and hands on what it tells meanwhile.
pub(super) async fn drive<T>(
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

/// Opens a session that is named after the time. Recorders started in the same second get numbers behind it.
pub(super) fn open_by_time(out: &Path) -> Result<RecordingSession, RecordError> {
    open_numbered(out, &session_name())
}

fn open_numbered(out: &Path, name: &str) -> Result<RecordingSession, RecordError> {
    let mut session = RecordingSession::open(out, name);
    let mut number = 1;
    while matches!(session, Err(RecordError::InUse { .. })) {
        number += 1;
        session = RecordingSession::open(out, &format!("{name}-{number}"));
    }
    session
}

/// A session's name by default: it sorts by time.
fn session_name() -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second]");
    // Fails only for years of five digits.
    OffsetDateTime::now_utc().format(format).unwrap_or_else(|_| "session".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorders_of_the_same_second_get_sessions_of_their_own() {
        let out = tempfile::tempdir().unwrap();
        let sessions = [(); 3].map(|()| open_numbered(out.path(), "now").unwrap());
        assert_eq!(sessions.each_ref().map(RecordingSession::name), ["now", "now-2", "now-3"]);
    }
}
