//! `anyclaude record -- COMMAND`: what the child gets to see, and what comes of its end.

use std::process::{Command, Stdio};

use anyclaude::trace;

use crate::support::output::line_of;
use crate::support::process::{Ran, Running, exits_7_on, run};
use crate::support::recorder::files;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Client, REQUEST, Upstream};

/// `anyclaude record` around a shell script, into session `s`.
fn around(sandbox: &Sandbox, upstream: &str, script: &str) -> Command {
    sandbox.anyclaude(&["record", "--upstream", upstream, "--session", "s", "--", "sh", "-c", script])
}

fn run_around(sandbox: &Sandbox, upstream: &str, script: &str) -> Ran {
    let ran = run(&mut around(sandbox, upstream, script));
    assert!(!sandbox.path("traces").exists(), "a run without requests leaves nothing");
    ran
}

const LOCAL: &str = "http://127.0.0.1:9";

#[test]
fn the_childs_exit_code_is_passed_on() {
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -s KILL $$", 137), ("kill -s TERM $$", 143)] {
        run_around(&Sandbox::new(), LOCAL, script).exits(code);
    }
}

/// The recorder has glibc's heap fixed for itself alone.
#[cfg(target_env = "gnu")]
#[test]
fn the_childs_heap_is_as_it_would_be_without_us() {
    let of_recorder = "tr '\\0' '\\n' < /proc/$PPID/environ | grep -c MALLOC_MMAP_THRESHOLD_=262144";
    let script = format!("echo own $MALLOC_MMAP_THRESHOLD_, ours $({of_recorder})");
    assert_eq!(run_around(&Sandbox::new(), LOCAL, &script).stdout, "own , ours 1\n");
    let sandbox = Sandbox::new();
    let set = run(around(&sandbox, LOCAL, "echo $MALLOC_MMAP_THRESHOLD_").env("MALLOC_MMAP_THRESHOLD_", "65536"));
    assert_eq!(set.stdout, "65536\n");
}

#[test]
fn the_terminal_is_the_childs_but_for_a_line_at_the_start_and_one_at_the_end() {
    let sandbox = Sandbox::new();
    let ran = run_around(&sandbox, LOCAL, "echo out; echo err >&2");
    assert_eq!(ran.stdout, "out\n");
    // The child may be first.
    let mut lines: Vec<&str> = ran.stderr.lines().collect();
    lines[..2].sort();
    insta::assert_snapshot!(sandbox.portable(&lines.join("\n")), @"
    err
    recording http://127.0.0.1:[port] → http://127.0.0.1:9, into traces/s
    recorded no exchanges: no request under /v1/ came
    ");
}

#[test]
fn the_log_waits_while_the_child_has_the_terminal() {
    let sandbox = Sandbox::new();
    let script = "echo $ANTHROPIC_BASE_URL; read _; echo child ends";
    let recorder = around(&sandbox, LOCAL, script);
    // A terminal of its own, for input and both outputs.
    let mut command = sandbox.program("python3");
    command.args(["-c", "import pty, sys; pty.spawn(sys.argv[1:])"]).arg(recorder.get_program()).args(recorder.get_args());
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let address = running.prints("http://").trim().to_owned();
    assert_eq!(Client::send(&address, "POST", "/v1/messages", &[], REQUEST).answer().status(), 502);
    running.write("\n");
    let shown = running.end().exits(0).stdout;
    let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
    assert!(place("child ends") < place("no answer from http://127.0.0.1:9"), "{shown}");
    assert!(place("no answer from") < place("recorded 1 exchange"), "{shown}");
}

#[test]
fn a_dummy_key_is_set_only_where_no_key_is_and_the_upstream_is_local() {
    let key = |upstream: &str, name: &str, value: &str| {
        let show = "echo \"$ANTHROPIC_API_KEY|$ANTHROPIC_AUTH_TOKEN|${ANTHROPIC_BASE_URL%:*}\"";
        run(around(&Sandbox::new(), upstream, show).env(name, value)).stdout
    };
    assert_eq!(key(LOCAL, "UNRELATED", "1"), "|anyclaude-local|http://127.0.0.1\n");
    assert_eq!(key(LOCAL, "ANTHROPIC_API_KEY", "own"), "own||http://127.0.0.1\n");
    assert_eq!(key(LOCAL, "ANTHROPIC_AUTH_TOKEN", "own"), "|own|http://127.0.0.1\n");
    assert_eq!(key("https://api.example.com", "UNRELATED", "1"), "||http://127.0.0.1\n");
}

#[test]
fn the_childs_requests_are_recorded() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{\"input_tokens\":3}"));
    let sandbox = Sandbox::new();
    // The test speaks for the child, which waits for it.
    let start = |script: &str| {
        let mut running = Running::start(around(&sandbox, &upstream.url(), script).stdin(Stdio::piped()));
        let address = running.prints("http://");
        (running, address)
    };
    let (mut running, address) = start("echo $ANTHROPIC_BASE_URL; read _; exit 5");
    for _ in 0..2 {
        Client::send(&address, "POST", "/v1/messages/count_tokens", &[], REQUEST).answer();
    }
    running.write("\n");
    let ran = running.end().exits(5);
    assert!(ran.stderr.ends_with("recorded 2 exchanges to traces/s\n"), "{}", ran.stderr);
    let seqs: Vec<u32> = files(&sandbox.path("traces")).iter().map(|file| trace::read(file).unwrap().seq).collect();
    assert_eq!(seqs, [1, 2]);
    // The same session again goes on with its numbers.
    let (mut running, address) = start("echo $ANTHROPIC_BASE_URL; read _");
    Client::send(&address, "GET", "/v1/models", &[], "").answer();
    running.end();
    assert_eq!(trace::read(&sandbox.path("traces/s/0003.json")).unwrap().seq, 3);
}

#[test]
fn signals_reach_the_child_and_the_recorder_outlives_it() {
    for signal in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        let mut running = Running::start(&mut around(&sandbox, LOCAL, &exits_7_on(signal)));
        running.prints("ready");
        running.signal(signal);
        let ran = running.end().exits(7);
        insta::allow_duplicates! { insta::assert_snapshot!(line_of(&ran.stderr, "recorded "), @"recorded no exchanges: no request under /v1/ came") }
    }
}

#[test]
fn a_command_that_is_not_there_is_wrong_usage() {
    let sandbox = Sandbox::new();
    let refused = |program: &str| {
        let mut command = sandbox.anyclaude(&["record", "--upstream", LOCAL, "--", program]);
        run(command.env("PATH", sandbox.path(""))).refusal()
    };
    insta::assert_snapshot!(["claude", "no-such-program"].map(refused).concat(), @r"
    exit 2: error: claude: command not found; install Claude Code with `npm install -g @anthropic-ai/claude-code`
    exit 2: error: no-such-program: command not found; check its name and PATH
    ");
    assert!(!sandbox.path("traces").exists(), "nothing is left behind");
}
