//! A throw-away folder with traces and snapshots, and the built binary run in it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Workspace {
    folder: TempDir,
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workspace {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Session `demo`: 001 calls Read, 002 answers with text and has no tools, 003 counts tokens.
    pub fn with_traces() -> Self {
        let workspace = Self::empty();
        let text_only = [
            ("/request/body/tools", json!([])),
            ("/request/body/messages/0/content", json!("Say hello")),
            ("/response/body/content", json!([{"type": "text", "text": "Hello."}])),
            ("/response/body/stop_reason", json!("end_turn")),
        ];
        workspace.write_trace(1, &[]);
        workspace.write_trace(2, &text_only);
        workspace.write_trace(3, &[("/request/path", json!("/v1/messages/count_tokens"))]);
        workspace
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The names of the files in a folder, sorted; none where there is no folder.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A trace of an answered request that read hello.txt, with some of its fields replaced.
    pub fn write_trace(&self, seq: u32, overrides: &[(&str, Value)]) {
        let mut trace = json!({
            "version": 1, "id": format!("trace-{seq}"), "session": "demo", "seq": seq, "recorded_at": "2026-01-01T00:00:00Z",
            "client": "claude-cli", "mode": "anthropic",
            "request": {
                "method": "POST", "path": "/v1/messages?beta=true", "headers": {"x-api-key": "[redacted]"},
                "body": {
                    "model": "claude-opus", "max_tokens": 64000, "stream": true, "thinking": {"type": "adaptive"},
                    "system": [{"type": "text", "text": "You are a careful assistant. ".repeat(40)}],
                    "tools": [
                        {"name": "Bash", "input_schema": {"type": "object"}},
                        {"name": "Read", "input_schema": {"type": "object"}},
                    ],
                    "messages": [{"role": "user", "content": "Please read hello.txt"}],
                },
            },
            "response": {
                "status": 200, "headers": {}, "events": [],
                "body": {
                    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus", "stop_reason": "tool_use",
                    "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 9},
                    "content": [{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "hello.txt"}}],
                },
            },
            "timing": {"ttft_us": 1000, "e2e_us": 2000, "itl_us": null},
            "outcome": "complete",
        });
        for (pointer, value) in overrides {
            *trace.pointer_mut(pointer).unwrap() = value.clone();
        }
        self.write(&format!("traces/demo/{seq:03}.json"), &serde_json::to_string_pretty(&trace).unwrap());
    }

    /// The binary in this folder, in an environment of its own: no colours, no CI.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).env("NO_COLOR", "1");
        for variable in ["CI", "CLICOLOR_FORCE", "ANYCLAUDE_DEBUG", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] {
            command.env_remove(variable);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Asserts the exit code; shows everything where it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that each text is in standard output.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "{text:?} is not in:\n{}", self.stdout);
        }
        self
    }

    /// Asserts that standard error is one line, naming each of these, and no panic.
    #[track_caller]
    pub fn fails_with(self, texts: &[&str]) -> Self {
        assert_eq!(self.stderr.trim().lines().count(), 1, "stderr:\n{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        }
        self
    }
}

/// The lines of a diff that were removed or added, without their line numbers.
pub fn changed_lines(output: &str) -> Vec<String> {
    let changes = output.lines().filter_map(|line| line.split_once("│ ")).map(|(_, text)| text);
    changes.filter(|text| text.starts_with(['-', '+'])).map(str::to_owned).collect()
}
