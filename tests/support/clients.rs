//! The real clients that the tests drive: where they are, and how they are pointed at a server.
//!
//! `make clients` puts them under target/clients; `ANYCLAUDE_TEST_CLIENTS` names another folder of the same form.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

/// A client that takes longer hangs, and is killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the real client prints and how it ended.
pub async fn claude(base_url: &str, folder: &Path, arguments: &[&str]) -> Output {
    claude_with(base_url, folder, arguments, &[]).await
}

/// The same with more variables in its environment.
pub async fn claude_with(base_url: &str, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(installed("node_modules/.bin/claude"));
    command.args(arguments).current_dir(folder).env_clear();
    command.envs(claude_environment(home.path()));
    command.env("ANTHROPIC_BASE_URL", base_url).envs(variables.iter().copied());
    finish(command).await
}

/// The environment in which the real client talks to nobody but its base URL, and knows nothing of this machine's user.
pub fn claude_environment(home: &Path) -> Vec<(&'static str, String)> {
    let home = home.to_str().unwrap().to_owned();
    vec![
        ("PATH", std::env::var("PATH").unwrap()),
        ("HOME", home.clone()),
        ("CLAUDE_CONFIG_DIR", home),
        ("ANTHROPIC_API_KEY", "local".into()),
        ("DISABLE_TELEMETRY", "1".into()),
        ("DISABLE_AUTOUPDATER", "1".into()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
    ]
}

/// What tests/sdk/messages.py saw through the Python SDK.
pub async fn python_sdk(base_url: &str) -> Value {
    python("tests/sdk/messages.py", base_url).await
}

/// What tests/sdk/chat.py saw through OpenAI's Python SDK.
pub async fn openai_python_sdk(base_url: &str) -> Value {
    python("tests/sdk/chat.py", base_url).await
}

async fn python(script: &str, base_url: &str) -> Value {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(root().join(script)).arg(base_url);
    report(command).await
}

/// What tests/sdk/messages.cjs saw through the TypeScript SDK.
pub async fn typescript_sdk(base_url: &str) -> Value {
    node("tests/sdk/messages.cjs", base_url).await
}

/// What tests/sdk/chat.cjs saw through OpenAI's TypeScript SDK.
pub async fn openai_typescript_sdk(base_url: &str) -> Value {
    node("tests/sdk/chat.cjs", base_url).await
}

async fn node(script: &str, base_url: &str) -> Value {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed("node_modules"));
    command.arg(root().join(script)).arg(base_url);
    report(command).await
}

async fn report(command: Command) -> Value {
    let output = finish(command).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

async fn finish(mut command: Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let program = command.as_std().get_program().to_owned();
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{} did not end", program.display()));
    output.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// A path under the folder that `make clients` fills.
pub fn installed(path: &str) -> PathBuf {
    let folder = std::env::var_os("ANYCLAUDE_TEST_CLIENTS").map_or_else(|| root().join("target/clients"), PathBuf::from);
    let path = folder.join(path);
    assert!(path.exists(), "{} is missing: run `make clients`", path.display());
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
