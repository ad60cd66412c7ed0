//! `anyclaude record -- COMMAND`: what the child gets to see, and what comes of its end.

#[path = "support/recorder.rs"]
mod recorder;
#[path = "support/upstream.rs"]
mod upstream;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use anyclaude::trace;
use recorder::{anyclaude, files};
use tempfile::TempDir;
use upstream::{Client, REQUEST, Upstream};

/// `anyclaude record` around a shell script.
fn around(upstream: &str, folder: &TempDir, script: &str) -> Command {
    let mut command = anyclaude();
    command.args(["record", "--upstream", upstream, "--session", "s", "--out"]).arg(folder.path());
    command.args(["--", "sh", "-c", script]);
    command
}

fn run(upstream: &str, script: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let output = around(upstream, &folder, script).output().unwrap();
    assert!(files(folder.path()).is_empty() && !folder.path().join("s").exists(), "a run without requests leaves nothing");
    output
}

/// Starts it; the first line that the child prints.
fn start(mut command: Command) -> (Child, String) {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim_end().to_owned())
}

const LOCAL: &str = "http://127.0.0.1:9";

#[test]
fn the_childs_exit_code_is_passed_on() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -s KILL $$", 137), ("kill -s TERM $$", 143)] {
        assert_eq!(run(LOCAL, script).status.code(), Some(code), "{script}");
    }
}

#[test]
fn the_terminal_is_the_childs_but_for_a_line_at_the_start_and_one_at_the_end() {
    let output = run(LOCAL, "echo out; echo err >&2");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    assert!(
        lines.iter().any(|line| line.starts_with("recording http://127.0.0.1:") && line.contains(" → http://127.0.0.1:9, into "))
    );
    assert!(lines.contains(&"err"));
    assert_eq!(lines[2], "recorded no exchanges: no request under /v1/ came");
}

#[test]
fn a_dummy_key_is_set_only_where_no_key_is_and_the_upstream_is_local() {
    let key = |upstream: &str, name: &str, value: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = around(upstream, &folder, "echo \"$ANTHROPIC_API_KEY|$ANTHROPIC_AUTH_TOKEN|${ANTHROPIC_BASE_URL%:*}\"");
        let output = command.env(name, value).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(key(LOCAL, "UNRELATED", "1"), "|anyclaude-local|http://127.0.0.1");
    assert_eq!(key(LOCAL, "ANTHROPIC_API_KEY", "own"), "own||http://127.0.0.1");
    assert_eq!(key(LOCAL, "ANTHROPIC_AUTH_TOKEN", "own"), "|own|http://127.0.0.1");
    assert_eq!(key("https://api.example.com", "UNRELATED", "1"), "||http://127.0.0.1");
}

#[test]
fn the_childs_requests_are_recorded() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{\"input_tokens\":3}"));
    let folder = tempfile::tempdir().unwrap();
    // The test speaks for the child, which waits for it.
    let (mut child, address) = start(around(&upstream.url(), &folder, "echo $ANTHROPIC_BASE_URL; read _; exit 5"));
    for _ in 0..2 {
        Client::send(&address, "POST", "/v1/messages/count_tokens", &[], REQUEST).answer();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(stderr.ends_with(&format!("recorded 2 exchanges to {}\n", folder.path().join("s").display())), "{stderr}");
    let seqs: Vec<u32> = files(folder.path()).iter().map(|file| trace::read(file).unwrap().seq).collect();
    assert_eq!(seqs, [1, 2]);
    // The same session again goes on with its numbers.
    let (mut child, address) = start(around(&upstream.url(), &folder, "echo $ANTHROPIC_BASE_URL; read _"));
    Client::send(&address, "GET", "/v1/models", &[], "").answer();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(trace::read(&folder.path().join("s/0003.json")).unwrap().seq, 3);
}

#[test]
fn signals_reach_the_child_and_the_recorder_outlives_it() {
    for (signal, script) in [
        ("INT", "trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done"),
        ("TERM", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, line) = start(around(LOCAL, &folder, script));
        assert_eq!(line, "ready");
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(7), "{signal}");
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(stderr.contains("recorded no exchanges"), "{stderr}");
    }
}

#[test]
fn a_command_that_is_not_there_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |program: &str| {
        let mut command = anyclaude();
        command.args(["record", "--upstream", LOCAL, "--", program]).current_dir(folder.path()).env("PATH", folder.path());
        let output = command.output().unwrap();
        format!("exit {}\n{}", output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr))
    };
    insta::assert_snapshot!(fails("claude"), @r"
    exit 2
    error: claude: command not found; install Claude Code with `npm install -g @anthropic-ai/claude-code`
    ");
    insta::assert_snapshot!(fails("no-such-program"), @r"
    exit 2
    error: no-such-program: command not found; check its name and PATH
    ");
    assert!(files(folder.path()).is_empty());
}
