//! The full screen on a terminal: Python's pty plays it.

use anyclaude::snapshot::{ExchangeId, Outcome, Snapshot, Store, ToolUse};
use serde_json::json;

use super::{pending, snapshot};
use crate::support::demo::write_trace;
use crate::support::output::line_of;
use crate::support::process::{Ran, run};
use crate::support::sandbox::Sandbox;
use crate::support::terminal::python;

/// Starts a review on a terminal of 80 columns and 24 rows. Once it is drawn, a shell does something, and then these keys are
/// typed. What it prints afterwards, on the usual screen, is the standard output. The terminal must be as it was before.
fn review_while(sandbox: &Sandbox, action: &str, keys: &str) -> Ran {
    let script = "
child, terminal = pty.fork()
if child == 0:
    small()
    os.execv(sys.argv[1], [sys.argv[1], 'review'])
keys = [sys.argv[3].encode()]
def type_once(output):
    if keys and b'quit' in output:
        subprocess.run(['sh', '-c', sys.argv[2]], check=True, env={**os.environ, 'REVIEW': str(child)})
        os.write(terminal, keys.pop())
output = play(terminal, type_once)
screen, _, after = output.rpartition(b'\\x1b[?1049l')
assert b'\\x1b[?1049h' in screen, output
assert output.rfind(b'\\x1b[?25h') > output.rfind(b'\\x1b[?25l'), output
usual = termios.ICANON | termios.ECHO
assert termios.tcgetattr(terminal)[3] & usual == usual, output
sys.stdout.buffer.write(after)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    run(python(sandbox, script).args([action, keys]).env("TERM", "xterm-256color"))
}

fn review(sandbox: &Sandbox, keys: &str) -> Ran {
    review_while(sandbox, "true", keys)
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
    let sandbox = pending();
    assert!(review(&sandbox, "aa\u{3}").exits(130).stdout.contains("Nothing was written."));
    assert_eq!(sandbox.files("snapshots").len(), 4);
    for keys in ["aaqn", "q"] {
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

#[test]
fn a_signal_ends_it_and_the_terminal_is_as_before() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let sandbox = pending();
        review_while(&sandbox, &format!("kill -{signal} $REVIEW"), "").exits(code);
        assert_eq!(sandbox.files("snapshots").len(), 4, "{signal}");
    }
}

/// Whoever waits for keys of a terminal that is gone waits for ever, and busily.
#[test]
fn it_ends_with_its_terminal() {
    let script = "
child, terminal = pty.fork()
if child == 0:
    small()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.execv(sys.argv[1], [sys.argv[1], 'review'])
output = b''
while b'quit' not in output:
    output += os.read(terminal, 4096)
os.close(terminal)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";
    let sandbox = pending();
    run(python(&sandbox, script).env("TERM", "xterm-256color")).exits(129);
    assert_eq!(sandbox.files("snapshots").len(), 4);
}

/// As under a shell: Ctrl-Z stops the job on a terminal as it was before, and `fg` draws the screen anew.
#[test]
fn it_is_stopped_and_goes_on() {
    let script = "
shell, terminal = pty.fork()
if shell == 0:
    small()
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    before = termios.tcgetattr(0)[:4]
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        os.execv(sys.argv[1], [sys.argv[1], 'review'])
    status = os.waitpid(job, os.WUNTRACED)[1]
    os.tcsetpgrp(0, os.getpid())
    print('stopped', os.WIFSTOPPED(status), termios.tcgetattr(0)[:4] == before, flush=True)
    os.tcsetpgrp(0, job)
    os.kill(job, signal.SIGCONT)
    status = os.waitpid(job, 0)[1]
    os.tcsetpgrp(0, os.getpid())
    print('ended', os.waitstatus_to_exitcode(status), termios.tcgetattr(0)[:4] == before, flush=True)
    os._exit(0)
keys = [b'\\x1a', b'q']
def stop_and_quit(output):
    while keys and output.count(b'quit') > 2 - len(keys):
        os.write(terminal, keys.pop(0))
output = play(terminal, stop_and_quit)
assert b'stopped True True' in output and b'ended 0 True' in output, output
";
    let sandbox = pending();
    run(python(&sandbox, script).env("TERM", "xterm-256color")).exits(0);
}

#[test]
fn what_changed_while_the_screen_was_open_is_left_and_the_rest_is_written() {
    let sandbox = pending();
    // One is answered anew, as by a replay, and another one is gone, as by a second review.
    let meanwhile = "sed s/Read/Bash/ snapshots/demo__001.snap.new > new && mv new snapshots/demo__001.snap.new
        rm snapshots/demo__002.snap.new";
    let ran = review_while(&sandbox, meanwhile, "aaqy").exits(2);
    let reviewed = line_of(&ran.stdout, "Reviewed: ");
    insta::assert_snapshot!(reviewed, @"Reviewed: 1 accepted, 0 rejected, 0 still pending, 2 left as they are");
    assert!(ran.stdout.contains("demo__001.snap.new: it changed since it was shown"), "{}", ran.stdout);
    assert!(ran.stdout.contains("demo__002.snap.new: nothing is pending there any more"), "{}", ran.stdout);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__003.snap"]);
}

#[test]
fn rules_that_cannot_be_added_lose_no_decision() {
    let sandbox = pending();
    let mut other = snapshot(1, "Write");
    other.outcome.tool_use[0].input = json!({"file_path": "bye.txt"});
    other.write(&sandbox.path("snapshots/demo__001.snap.new")).unwrap();
    // Nothing can be added behind a list that is written in one line.
    sandbox.write("anyclaude.toml", "[replay]\nmatch = [{path = '$.a', as = 'ignore'}]\n");
    // The two new ones are accepted; then a rule for the third, which goes on from the heading to it by itself.
    let ran = review(&sandbox, "a\rmqqy").exits(2);
    let reviewed = line_of(&ran.stdout, "Reviewed: ");
    insta::assert_snapshot!(reviewed, @"Reviewed: 2 accepted, 0 rejected, 1 still pending");
    assert!(
        ran.stdout.contains("the rules were not added: ") && ran.stdout.contains("add them by hand, and replay again"),
        "{}",
        ran.stdout
    );
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap", "demo__003.snap"]);
}
