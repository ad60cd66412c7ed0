//! The full screen on a terminal: Python's pty plays it.

use anyclaude::snapshot::{ExchangeId, Outcome, Snapshot, Store, ToolUse};
use serde_json::json;

use super::{pending, snapshot};
use crate::support::demo::write_trace;
use crate::support::output::line_of;
use crate::support::process::{Ran, run};
use crate::support::sandbox::Sandbox;

/// Starts a review on a terminal of 80 columns and 24 rows, and types these keys once it is drawn. What it prints afterwards, on
/// the usual screen, is the standard output.
fn review(sandbox: &Sandbox, keys: &str) -> Ran {
    let script = "
import fcntl, os, pty, struct, sys, termios
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execv(sys.argv[1], [sys.argv[1], 'review'])
output, typed = b'', False
while True:
    try:
        read = os.read(terminal, 4096)
    except OSError:
        break
    if not read:
        break
    output += read
    if not typed and b'quit' in output:
        os.write(terminal, sys.argv[2].encode())
        typed = True
screen, _, after = output.rpartition(b'\\x1b[?1049l')
assert b'\\x1b[?1049h' in screen, output
sys.stdout.buffer.write(after)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let mut python = sandbox.program("python3");
    run(python.args(["-c", script, env!("CARGO_BIN_EXE_anyclaude"), keys]).env("TERM", "xterm-256color"))
}

#[test]
fn what_was_decided_is_written_once_it_is_confirmed() {
    // The two new ones are a group. It is unfolded; then one is accepted, one is rejected, and the renamed tool is skipped.
    let sandbox = pending();
    let ran = review(&sandbox, "\rjarsqy").exits(0);
    insta::assert_snapshot!(line_of(&ran.stdout, "Reviewed: "), @"Reviewed: 1 accepted, 1 rejected, 1 still pending");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap"]);
}

#[test]
fn nothing_is_written_where_it_is_not() {
    for keys in ["aaqn", "aa\u{3}", "q"] {
        let sandbox = pending();
        let ran = review(&sandbox, keys).exits(0);
        insta::allow_duplicates! {
            insta::assert_snapshot!(line_of(&ran.stdout, "Reviewed: "), @"Reviewed: 0 accepted, 0 rejected, 3 still pending");
        }
        assert_eq!(sandbox.files("snapshots").len(), 4, "{keys:?}");
    }
}

#[test]
fn a_rule_is_added_to_the_settings_and_what_it_covers_waits_no_longer() {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    let store = Store::new(sandbox.path("snapshots"));
    let id = ExchangeId::new("demo", "001").unwrap();
    let of = |command: &str| {
        let call = ToolUse { name: "Bash".into(), input: json!({"command": command}) };
        let snapshot = snapshot(1, "Bash");
        Snapshot { outcome: Outcome { tool_use: vec![call], ..snapshot.outcome }, ..snapshot }
    };
    store.write_accepted(&id, of("ls -l")).unwrap();
    store.write_pending(&id, &of("ls  -l")).unwrap();
    sandbox.write("anyclaude.toml", "# ours\n");
    let ran = review(&sandbox, "\rmqqy").exits(0);
    let reviewed = line_of(&ran.stdout, "Reviewed: ");
    insta::assert_snapshot!(reviewed, @"Reviewed: 0 accepted, 0 rejected, 1 equal under new rules, 0 still pending");
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap"]);
    insta::assert_snapshot!(sandbox.read("anyclaude.toml"), @r##"
    # ours

    [[replay.match]]
    tool = "Bash"
    path = "$.command"
    as = "words"
    "##);
}
