//! `anyclaude serve` at work.

use super::process::{Ran, Running};
use super::sandbox::Sandbox;

/// A server over a model folder. Killed when dropped.
pub(crate) struct Serving {
    running: Running,
    pub url: String,
    /// Where it works. Nothing was recorded there, so it computes nothing ahead.
    _sandbox: Sandbox,
}

impl Serving {
    /// Serves this model on a free port; returns when it listens.
    #[track_caller]
    pub(crate) fn start(model: &str, arguments: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let arguments = [&["serve", "--model", model, "--port", "0"], arguments].concat();
        let mut running = Running::start(&mut sandbox.anyclaude(&arguments));
        let url = running.says("listening on ").replace("listening on ", "");
        Self { running, url, _sandbox: sandbox }
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    /// The next line of standard error that starts like this.
    #[track_caller]
    pub(crate) fn says(&mut self, start: &str) -> String {
        self.running.says(start)
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        self.running.end()
    }

    /// Sends a signal (`INT`, `TERM`) and waits for the end.
    #[track_caller]
    pub(crate) fn stop(self, signal: &str) -> Ran {
        self.signal(signal);
        self.end()
    }
}
