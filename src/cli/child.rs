//! The client as our child process: finding it, starting it, passing signals on to it.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::CliError;
use super::heap::leave_to;
use super::log::LentTerminal;
use super::signals::Signals;
use crate::record::Upstream;
use crate::server::{RunToken, TOKEN_HEADER};

/// A key for upstreams that ask for none: without any, Claude Code wants its user to log in.
const DUMMY_KEY: &str = "anyclaude-local";

/// The environment variables that point a client at `address`, behind which is this upstream. A dummy key is among them if the
/// user has set none and the upstream is on this machine; as a bearer token, because Claude Code has the user confirm unknown
/// API keys.
pub(super) fn environment(address: &str, upstream: &Upstream) -> Vec<(&'static str, String)> {
    let mut environment = vec![("ANTHROPIC_BASE_URL", address.to_owned())];
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if upstream.is_loopback() && !is_set("ANTHROPIC_API_KEY") && !is_set("ANTHROPIC_AUTH_TOKEN") {
        environment.push(("ANTHROPIC_AUTH_TOKEN", DUMMY_KEY.to_owned()));
    }
    environment
}

/// The variable by which Claude Code and Anthropic's SDKs are told of headers to send, a line each.
const CUSTOM_HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";

/// The variables with credentials of the client, and the header in which it sends each.
const CREDENTIALS: [(&str, &str); 3] =
    [("ANTHROPIC_API_KEY", "x-api-key"), ("ANTHROPIC_AUTH_TOKEN", "authorization"), ("CLAUDE_CODE_OAUTH_TOKEN", "authorization")];

/// The headers that a client started from here would send, as far as its environment names them.
pub(super) fn own_headers() -> Vec<(String, String)> {
    let value = |variable| Some(std::env::var_os(variable)?.to_string_lossy().into_owned());
    let keys = CREDENTIALS.into_iter().filter_map(|(variable, header)| Some((header.to_owned(), value(variable)?)));
    let lines = value(CUSTOM_HEADERS).unwrap_or_default();
    let custom = lines.lines().filter_map(|line| line.split_once(':'));
    keys.chain(custom.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))).collect()
}

/// The variable by which the client sends a run's token with every request, beside the headers that the user has set there.
pub(super) fn token_variable(token: &RunToken) -> (&'static str, String) {
    let headers = std::env::var_os(CUSTOM_HEADERS).unwrap_or_default();
    let headers = headers.to_string_lossy();
    // A client of another run may have started us: its token opens the other run's port.
    let mut lines: Vec<String> = headers.lines().filter(|line| token_in(line).is_none()).map(str::to_owned).collect();
    lines.push(format!("{TOKEN_HEADER}: {}", token.secret()));
    (CUSTOM_HEADERS, lines.join("\n"))
}

/// The token of the run whose client has started us, if that is so: the port in our `ANTHROPIC_BASE_URL` asks for it.
pub(super) fn outer_token() -> Option<RunToken> {
    let headers = std::env::var(CUSTOM_HEADERS).ok()?;
    headers.lines().find_map(token_in).map(RunToken::known)
}

/// The token in a line with a header, if it is that header.
fn token_in(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(':')?;
    name.trim().eq_ignore_ascii_case(TOKEN_HEADER.as_str()).then(|| value.trim())
}

/// Makes sure that a program exists, given as a path or as a name on PATH.
pub(super) fn check_program(program: &str) -> Result<(), CliError> {
    let is_path = program.contains('/');
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = if is_path {
        Path::new(program).is_file()
    } else {
        std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    };
    if found { Ok(()) } else { Err(CliError::input(explain(program, &io::ErrorKind::NotFound.into()))) }
}

/// The running child.
pub(super) struct Child {
    process: tokio::process::Child,
    _terminal: LentTerminal,
}

impl Child {
    /// Starts the command with these variables added to its environment.
    pub(super) fn start(command: &[String], environment: Vec<(&str, String)>) -> Result<Self, CliError> {
        let (program, arguments) = command.split_first().ok_or_else(|| CliError::input("no command after --"))?;
        let terminal = LentTerminal::lend();
        let process = leave_to(&mut Command::new(program))
            .args(arguments)
            .envs(environment)
            .spawn()
            .map_err(|error| CliError::input(explain(program, &error)))?;
        Ok(Self { process, _terminal: terminal })
    }

    /// Waits until the child ends and returns its exit code: 128 and the signal's number if a signal ended it. Meanwhile signals
    /// are passed on to it, except a Ctrl-C from the terminal, which reaches the child by itself.
    pub(super) async fn wait(mut self, signals: &mut Signals) -> Result<u8, CliError> {
        loop {
            tokio::select! {
                status = self.process.wait() => return status.map(exit_code).map_err(CliError::backend),
                signal = signals.next() => {
                    if signal != Signal::INT || !io::stdin().is_terminal() {
                        self.send(signal);
                    }
                }
            }
        }
    }

    fn send(&self, signal: Signal) {
        let pid = self.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // Fails only if the child has just ended.
            kill_process(pid, signal).ok();
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    // A parent sees one byte of an exit code, and signal numbers are at most 64.
    status.code().or_else(|| Some(128 + status.signal()?)).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn explain(program: &str, error: &io::Error) -> String {
    let is_claude = Path::new(program).file_name() == Some(OsStr::new("claude"));
    match error.kind() {
        io::ErrorKind::NotFound if is_claude => {
            format!("{program}: command not found; install Claude Code with `npm install -g @anthropic-ai/claude-code`")
        }
        io::ErrorKind::NotFound => format!("{program}: command not found; check its name and PATH"),
        _ => format!("cannot start {program}: {error}; check that it may be executed"),
    }
}
