//! The real binary at work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::Outcome;

/// A server of its own, killed when dropped.
pub(crate) struct Serving {
    child: Child,
    pub url: String,
}

impl Serving {
    pub(crate) fn start(model: &Path, flags: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
        command.args(["serve", "--port", "0", "--warm", "0", "--model"]).arg(model).args(flags);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let mut serving = Self { child, url: String::new() };
        let mut lines = BufReader::new(stderr).lines();
        for line in &mut lines {
            if let Some(url) = line?.strip_prefix("listening on ") {
                serving.url = url.to_owned();
                // A pipe that nobody reads would stop it some day.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(serving);
            }
        }
        Err("the server ended".into())
    }

    /// Its open descriptors and its threads, where `/proc` tells.
    pub(crate) fn descriptors_and_threads(&self) -> Option<(usize, usize)> {
        let process = format!("/proc/{}", self.child.id());
        let count = |folder: &str| Some(fs::read_dir(format!("{process}/{folder}")).ok()?.count());
        Some((count("fd")?, count("task")?))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
