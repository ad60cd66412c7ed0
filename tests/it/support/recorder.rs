//! `anyclaude record` at work, started alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyclaude::trace::{self, Trace};

use super::process::{Ran, Running};
use super::sandbox::Sandbox;

/// A recorder whose session is `traces/s` in its sandbox. Killed when dropped.
pub(crate) struct Recorder {
    running: Running,
    pub address: String,
    pub sandbox: Sandbox,
}

impl Recorder {
    pub(crate) fn start(upstream: &str) -> Self {
        Self::start_with(upstream, &[])
    }

    /// Starts it with these environment variables; returns when it listens.
    #[track_caller]
    pub(crate) fn start_with(upstream: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_in(Sandbox::new(), upstream, environment)
    }

    /// The same in a sandbox that has files already.
    #[track_caller]
    pub(crate) fn start_in(sandbox: Sandbox, upstream: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = sandbox.anyclaude(&arguments(upstream));
        command.envs(environment.iter().copied());
        Self::listening(sandbox, &mut command)
    }

    /// The same through a shell script in the project, which ends with `exec "$@"`.
    #[track_caller]
    pub(crate) fn start_by_script(script: &str, upstream: &str) -> Self {
        let sandbox = Sandbox::new();
        let mut command = sandbox.program("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_anyclaude")]).args(arguments(upstream));
        Self::listening(sandbox, &mut command)
    }

    /// Starts one that tells sessions apart, with these arguments; returns when it listens.
    #[track_caller]
    pub(crate) fn start_service(sandbox: Sandbox, arguments: &[&str]) -> Self {
        Self::start_service_with(sandbox, arguments, &[])
    }

    /// The same with these environment variables.
    #[track_caller]
    pub(crate) fn start_service_with(sandbox: Sandbox, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = sandbox.anyclaude(&[&["record", "--port", "0"], arguments].concat());
        command.envs(environment.iter().copied());
        Self::listening(sandbox, &mut command)
    }

    #[track_caller]
    fn listening(sandbox: Sandbox, command: &mut Command) -> Self {
        let mut running = Running::start(command);
        let line = running.says("recording http://");
        let address = line.split(' ').nth(1).unwrap().to_owned();
        Self { running, address, sandbox }
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.running.signal(signal);
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Ran {
        self.running.end()
    }

    /// Ends it in order.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Ran {
        self.signal("TERM");
        self.end()
    }

    /// Kills it; what it leaves behind.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Sandbox {
        self.signal("KILL");
        self.end();
        self.sandbox
    }

    /// The next line on standard error that begins with `start`.
    #[track_caller]
    pub(crate) fn says(&mut self, start: &str) -> String {
        self.running.says(start)
    }

    /// A path of the session's folder.
    pub(crate) fn session(&self, relative: &str) -> PathBuf {
        self.sandbox.path("traces/s").join(relative)
    }

    /// Every file that it has written, sorted.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files(&self.sandbox.path("traces"))
    }

    /// The session's only trace, which must be there.
    #[track_caller]
    pub(crate) fn trace(&self) -> Trace {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        trace::read(&files[0]).unwrap()
    }
}

/// A recorder that writes to `traces/s`.
fn arguments(upstream: &str) -> [&str; 7] {
    ["record", "--upstream", upstream, "--port", "0", "--session", "s"]
}

/// Every file under a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
