//! The built binary, recording into a folder of its own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use anyclaude::trace::{self, Trace};
use tempfile::TempDir;

/// The binary, without what the environment could change about it.
pub fn anyclaude() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANYCLAUDE_DEBUG"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// A running `anyclaude record`, started alone. Killed when dropped.
pub struct Recorder {
    process: Child,
    stderr: BufReader<ChildStderr>,
    pub address: String,
    pub folder: TempDir,
}

impl Recorder {
    pub fn start(upstream: &str) -> Self {
        Self::start_with(upstream, &[])
    }

    pub fn start_with(upstream: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = anyclaude();
        command.args(["record", "--upstream", upstream, "--port", "0", "--session", "s", "--out"]).arg(folder.path());
        let mut process = command.envs(environment.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.strip_prefix("recording ").and_then(|rest| rest.split(' ').next()).expect(&line).to_owned();
        Self { process, stderr, address, folder }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end; the rest of standard error with it.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap(), rest)
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait()
    }

    pub fn session(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The session's only trace, which must be there.
    pub fn trace(&self) -> Trace {
        let files = files(self.folder.path());
        assert_eq!(files.len(), 1, "{files:?}");
        trace::read(&files[0]).unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Every file under a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
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
