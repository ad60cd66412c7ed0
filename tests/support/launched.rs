//! The built binary as a launcher, in a home folder and a project of its own.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home folder and a project folder, both empty at first.
pub struct Place {
    pub home: TempDir,
    pub project: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), project: tempfile::tempdir().unwrap() }
    }

    /// The binary, started in the project, knowing nothing of this machine's user.
    pub fn anyclaude(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
        command.args(arguments).current_dir(self.project.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        command
    }

    /// What it prints and how it ends.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.anyclaude(arguments).output().unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.project.path().join(name), text).unwrap();
    }

    pub fn write_home(&self, name: &str, text: &str) {
        std::fs::write(self.home.path().join(name), text).unwrap();
    }

    /// A file of the project, as an absolute path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.project.path().canonicalize().unwrap().join(name)
    }
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
