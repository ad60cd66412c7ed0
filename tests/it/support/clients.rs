//! The real clients that the tests drive: where they are, and how they are pointed at a server.
//!
//! `make clients` puts them under target/clients; `ANYCLAUDE_TEST_CLIENTS` names another folder of the same form.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::output::{line_of, uncounted};
use super::process::{Ran, run};
use super::sandbox::{Sandbox, repository};

/// What Claude Code is told so that it talks to nobody but its base URL.
const CLAUDE_SETTINGS: [(&str, &str); 3] =
    [("DISABLE_TELEMETRY", "1"), ("DISABLE_AUTOUPDATER", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")];

/// The Claude Code client.
pub(crate) fn claude() -> PathBuf {
    installed("node_modules/.bin/claude")
}

/// The first line of an output that begins like this, without the client's path, times, ports and counts.
#[track_caller]
pub(crate) fn client_line(output: &str, start: &str) -> String {
    uncounted(&line_of(output, start).replace(claude().to_str().unwrap(), "[client]"))
}

/// A command that starts Claude Code, itself or through another program.
pub(crate) fn with_claude_settings<'a>(sandbox: &Sandbox, command: &'a mut Command) -> &'a mut Command {
    command.envs(CLAUDE_SETTINGS).env("CLAUDE_CONFIG_DIR", sandbox.home(""))
}

/// What Claude Code prints and how it ends, started in the sandbox's project.
#[track_caller]
pub(crate) fn run_claude(sandbox: &Sandbox, base_url: &str, arguments: &[&str]) -> Ran {
    run(&mut running_claude(sandbox, base_url, arguments))
}

/// Claude Code on a server, about to be started in the sandbox's project.
pub(crate) fn running_claude(sandbox: &Sandbox, base_url: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.program(claude());
    command.args(arguments).env("ANTHROPIC_BASE_URL", base_url).env("ANTHROPIC_API_KEY", "local");
    with_claude_settings(sandbox, &mut command);
    command
}

/// What Claude Code, launched by the built binary with these flags, prints and how it ends.
#[track_caller]
pub(crate) fn launch_claude(sandbox: &Sandbox, flags: &[&str], arguments: &[&str]) -> Ran {
    run(&mut launching_claude(sandbox, flags, arguments))
}

/// The built binary with these flags, about to launch Claude Code with these arguments.
pub(crate) fn launching_claude(sandbox: &Sandbox, flags: &[&str], arguments: &[&str]) -> Command {
    let client = claude();
    let mut command = sandbox.anyclaude(&[flags, &["--client", client.to_str().unwrap(), "--"], arguments].concat());
    with_claude_settings(sandbox, &mut command);
    command
}

/// What Codex prints as lines of JSON and how it ends, asked once in the sandbox's project. It runs commands without a sandbox of
/// its own.
#[track_caller]
pub(crate) fn run_codex(sandbox: &Sandbox, base_url: &str, model: &str, prompt: &str) -> Ran {
    let provider =
        format!(r#"model_providers.local={{name="local",base_url="{base_url}/v1",env_key="KEY",wire_api="responses"}}"#);
    let mut command = sandbox.program(installed("node_modules/.bin/codex"));
    command.args(["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", model]);
    command.args(["-c", "model_provider=local", "-c", &provider, prompt]).env("KEY", "local");
    run(&mut command)
}

/// What a script of tests/sdk saw through its SDK.
#[track_caller]
pub(crate) fn sdk(script: &str, base_url: &str) -> Value {
    let sandbox = Sandbox::new();
    let script = repository("tests/sdk").join(script);
    let mut command = if script.extension().is_some_and(|extension| extension == "py") {
        sandbox.program(installed("venv/bin/python"))
    } else {
        let mut node = sandbox.program("node");
        node.env("NODE_PATH", installed("node_modules"));
        node
    };
    let ran = run(command.arg(script).arg(base_url)).exits(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A path under the folder that `make clients` fills.
pub(crate) fn installed(path: &str) -> PathBuf {
    let folder = std::env::var_os("ANYCLAUDE_TEST_CLIENTS").map_or_else(|| repository("target/clients"), PathBuf::from);
    let path = folder.join(path);
    assert!(path.exists(), "{} is missing: run `make clients`", path.display());
    path
}
