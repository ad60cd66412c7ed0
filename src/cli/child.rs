//! The client that runs as our child: how it is found and started, and the signals that we outlive on its behalf.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::signal::unix::{self, SignalKind};

use super::CliError;

/// What the client needs as a key where the upstream is on this machine and asks for none.
const DUMMY_KEY: &str = "anyclaude-local";

/// What a client must have in its environment to talk to `address`. A dummy key is among it only where none is set and none
/// is asked for: as a bearer token, because Claude Code has the user confirm an unknown API key.
pub fn environment(address: &str, needs_no_key: bool) -> Vec<(&'static str, String)> {
    let mut environment = vec![("ANTHROPIC_BASE_URL", address.to_owned())];
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if needs_no_key && !is_set("ANTHROPIC_API_KEY") && !is_set("ANTHROPIC_AUTH_TOKEN") {
        environment.push(("ANTHROPIC_AUTH_TOKEN", DUMMY_KEY.to_owned()));
    }
    environment
}

/// Makes sure that a program is there to be started: a path as it is, a name on PATH.
pub fn check_program(program: &str) -> Result<(), CliError> {
    let is_path = program.contains('/');
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = if is_path {
        Path::new(program).is_file()
    } else {
        std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
    };
    if found { Ok(()) } else { Err(CliError::input(explain(program, &io::ErrorKind::NotFound.into()))) }
}

/// The signals that ask for an end. While this lives they do not end the process.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one that comes.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
        }
    }
}

/// The exit code that says that a signal ended a process.
pub fn exit_code_of(signal: Signal) -> u8 {
    // Signals are small numbers.
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}

/// The running child.
pub struct Child {
    process: tokio::process::Child,
}

impl Child {
    /// Starts the command with these variables in its environment.
    pub fn start(command: &[String], environment: Vec<(&str, String)>) -> Result<Self, CliError> {
        let (program, arguments) = command.split_first().ok_or_else(|| CliError::input("no command after --"))?;
        let process = Command::new(program)
            .args(arguments)
            .envs(environment)
            .spawn()
            .map_err(|error| CliError::input(explain(program, &error)))?;
        Ok(Self { process })
    }

    /// Waits until the child ends; gives its exit code, 128 and the signal's number where a signal ended it. Signals are
    /// passed on to it, except a Ctrl-C from the terminal, which the child has got from there itself.
    pub async fn wait(mut self, signals: &mut Signals) -> Result<u8, CliError> {
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
            // It may have ended just now.
            kill_process(pid, signal).ok();
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    // Both are bytes: that is all a parent gets to see.
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
