//! The recorder's live view on a terminal: Python's pty plays it.

use crate::support::process::run;
use crate::support::sandbox::Sandbox;
use crate::support::terminal::python;
use crate::support::upstream::{REQUEST, Upstream, frames, gated};

/// How many frames of the answer come before it waits: its text, and the beginning of its call.
const BEFORE: usize = 7;

/// Starts a recorder on a terminal, sends it requests that no terminal should obey, and stops it once it has recorded both.
const PLAIN_SCRIPT: &str = r"
import http.client, threading
child, terminal = pty.fork()
if child == 0:
    small()
    os.execv(sys.argv[1], [sys.argv[1], 'record', '--port', '0', '--session', 's', '--upstream', sys.argv[2]])
def ask(address):
    for path in ['/v1/models', b'/v1/\xc2\x9b2Jx'.decode('latin-1')]:
        connection = http.client.HTTPConnection(address)
        connection._validate_path = lambda path: None
        connection._encode_request = lambda request: request.encode('latin-1')
        connection.request('GET', path)
        connection.getresponse().read()
steps = [
    (rb'recording http://([0-9.:]+) ', lambda found: threading.Thread(target=ask, args=(found[1].decode(),), daemon=True).start()),
    (rb's/0002 [^\n]*complete', lambda found: os.kill(child, signal.SIGTERM)),
]
follow(child, terminal, steps)
";

#[test]
fn any_terminal_shows_what_was_recorded_and_none_obeys_it() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{}"));
    for kind in ["dumb", "xterm-256color"] {
        let sandbox = Sandbox::new();
        let mut terminal = python(&sandbox, PLAIN_SCRIPT);
        let ran = run(terminal.arg(&*upstream.url()).env("TERM", kind)).exits(0);
        assert!(ran.stdout.contains("s/0001 GET /v1/models 200 complete"), "{kind}: {}", ran.stdout);
        assert!(ran.stdout.contains(r"s/0002 GET /v1/\u009b2Jx 200 complete"), "{kind}: {}", ran.stdout);
        assert!(!ran.stdout.contains('\u{9b}'), "{kind}: {}", ran.stdout);
    }
}

/// Starts a recorder on a terminal and sends it a request. Once the view shows its TTFT, the upstream may go on; once the sums
/// have it, the recorder is stopped.
const SCRIPT: &str = r"
import http.client, threading
child, terminal = pty.fork()
if child == 0:
    small()
    os.execv(sys.argv[1], [sys.argv[1], 'record', '--port', '0', '--session', 's', '--upstream', sys.argv[2]])
def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(address)
    connection.request(method, path, body, {'content-type': 'application/json'})
    connection.getresponse().read()
def post(found):
    arguments = (found[1].decode(), 'POST', '/v1/messages', os.fsencode(sys.argv[3]))
    threading.Thread(target=ask, args=arguments, daemon=True).start()
def release(found):
    ask(sys.argv[2].removeprefix('http://'), 'GET', '/release')
def stop(found):
    os.kill(child, signal.SIGTERM)
steps = [
    (rb'recording http://([0-9.:]+) ', post),
    (rb's/0001  claude-test  TTFT ', release),
    (rb'0 requests in flight, [^;]*; 1 request, 7 prompt tokens', stop),
]
follow(child, terminal, steps)
";

#[test]
fn a_request_in_flight_has_a_line_and_then_counts() {
    let upstream = gated(move |_, answer, gate| {
        answer.chunk(frames()[..BEFORE].concat())?;
        gate.wait();
        answer.chunk(frames()[BEFORE..].concat())
    });
    let sandbox = Sandbox::new();
    let mut terminal = python(&sandbox, SCRIPT);
    let ran = run(terminal.args([&*upstream.url(), REQUEST]).env("TERM", "xterm-256color")).exits(0);
    assert!(ran.stdout.contains("s/0001 POST /v1/messages 200 complete"), "{}", ran.stdout);
    assert!(ran.stdout.contains("recorded 1 exchange to traces/s"), "{}", ran.stdout);
}
