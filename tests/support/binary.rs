//! The built binary as a server: started, its address read from what it prints, stopped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

/// A running `anyclaude serve`. Killed when dropped.
pub struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub url: String,
}

impl Serving {
    /// Serves this model folder on a free port; returns when it listens.
    pub fn start(model: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
        command.args(["serve", "--model", model, "--port", "0"]).args(arguments);
        // Nothing is computed that the test did not ask for.
        command.env("KV_CACHE_WARMUP", "0");
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut serving = Self { child, stderr, url: String::new() };
        let mut said = String::new();
        while serving.stderr.read_line(&mut said).unwrap() > 0 {
            if let Some(url) = said.lines().last().and_then(|line| line.strip_prefix("listening on ")) {
                serving.url = url.to_owned();
                return serving;
            }
        }
        panic!("serve ended: {said}");
    }

    /// Sends a signal (`INT`, `TERM`) and waits for the end; gives the exit status and what was printed since it listened.
    pub fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        assert!(Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap().success());
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
