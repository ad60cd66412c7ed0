//! A client that the launcher has started, as a test sees it.

use std::fs;
use std::process::Stdio;

use reqwest::{Method, RequestBuilder};

use super::http::client;
use super::process::Running;
use super::recorder::files;
use super::sandbox::Sandbox;
use super::upstream::REQUEST;

/// The header with the token of a run.
pub(crate) const HEADER: &str = "x-anyclaude-token";

/// A launched client that says where it is pointed at and what it was given, and waits for the test.
pub(crate) struct Launched {
    pub running: Running,
    pub url: String,
    pub token: String,
    pub sandbox: Sandbox,
}

impl Launched {
    /// Launches it with these flags and variables.
    #[track_caller]
    pub(crate) fn start(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::new();
        let script = "echo \"$ANTHROPIC_BASE_URL\"; echo \"$ANTHROPIC_CUSTOM_HEADERS\"; read _";
        let mut command = sandbox.anyclaude(&[flags, &["--record", "--client", "sh", "--", "-c", script]].concat());
        command.envs(variables.iter().copied()).env("ANYCLAUDE_DEBUG", "3").stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let url = running.prints("http://");
        let token = running.prints(&format!("{HEADER}: ")).split_off(HEADER.len() + 2);
        Self { running, url, token, sandbox }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("{}{path}", self.url)).body(REQUEST)
    }

    /// Ends the client; gives what the launcher said and recorded, which must be without the token.
    #[track_caller]
    pub(crate) fn end(mut self) -> (String, Vec<String>) {
        self.running.write("\n");
        let said = self.running.end().exits(0).stderr;
        let folder = self.sandbox.home(".anyclaude/traces");
        // Where nothing was recorded, the session's folder has gone again.
        let files = if folder.exists() { files(&folder) } else { Vec::new() };
        let traces: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert!(!said.contains(&self.token) && traces.iter().all(|trace| !trace.contains(&self.token)), "{said}");
        (said, traces)
    }
}
