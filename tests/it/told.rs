//! What a command tells of servers and clients, on standard error and in reports: nothing that the user's own patterns match.

use serde_json::json;

use crate::support::demo::session;
use crate::support::http::{client, send};
use crate::support::process::{Running, run};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Upstream, frames, text_frame};

const SECRET: &str = "ACME-1234";

/// Recorded traces, and settings with a pattern.
fn with_pattern() -> Sandbox {
    let sandbox = session();
    sandbox.write_home("anyclaude.toml", "[redact]\npatterns = ['ACME-[0-9]{4}']\n");
    sandbox
}

/// A server that refuses each request, and says the secret.
fn refusing() -> Upstream {
    Upstream::start(|_, answer| {
        let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": format!("no {SECRET} here")}});
        answer.whole(400, &["content-type: application/json"], error.to_string())
    })
}

/// A server that answers with the secret: in a text, and as an argument of a call.
fn answering() -> Upstream {
    Upstream::start(|_, answer| {
        answer.stream()?;
        let (frames, text) = (frames(), text_frame(&format!("See {SECRET}. ")));
        answer.chunk(frames[..2].concat() + &text + &frames[5..].concat().replace("/w/a", &format!("/{SECRET}/a")))?;
        answer.end()
    })
}

#[track_caller]
fn has_no_secret(text: &str) {
    assert!(text.contains("[redacted]") && !text.contains(SECRET), "{text}");
}

#[test]
fn reports_of_answers_and_errors_have_nothing_that_the_users_patterns_match() {
    for server in [refusing(), answering()] {
        let sandbox = with_pattern();
        let files = ["--json", "a.json", "--html", "a.html", "--junit", "a.xml"];
        let ran = sandbox.run(&[&["replay", "--backend", &server.url(), "--retries", "0"], &files[..]].concat());
        has_no_secret(&sandbox.read("a.json"));
        let told = [ran.stdout, ran.stderr, sandbox.read("a.html"), sandbox.read("a.xml")];
        let snapshots = sandbox.files("snapshots/demo").into_iter().map(|name| sandbox.read(&format!("snapshots/demo/{name}")));
        for text in told.into_iter().chain(snapshots) {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}

#[test]
fn lines_of_a_server_have_nothing_that_the_users_patterns_match() {
    let (sandbox, elsewhere) = (with_pattern(), refusing());
    let ask = format!("ask:{}", elsewhere.url());
    let mut running = Running::start(&mut sandbox.anyclaude(&["serve", "--traces", "traces", "--port", "0", "--on-miss", &ask]));
    let url = running.says("listening on ").replace("listening on ", "");
    let body = r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Anything"}]}"#;
    assert_eq!(send(client().post(format!("{url}/v1/messages")).body(body)).unwrap().status, 400);
    running.signal("INT");
    has_no_secret(&running.end().exits(1).stderr);
}

/// Those that write no recordings have no redactor of their own.
#[test]
fn errors_of_every_command_have_nothing_that_the_users_patterns_match() {
    let (sandbox, hub) = (with_pattern(), format!("http://127.0.0.1:9/{SECRET}"));
    has_no_secret(&run(sandbox.anyclaude(&["model", "pull", "org/tiny"]).env("HF_ENDPOINT", &hub)).refusal());
    has_no_secret(&sandbox.run(&["report", "merge", SECRET]).refusal());
    // Settings that cannot be read stop only what would write without them.
    sandbox.write_home("anyclaude.toml", "[redact]\npatterns = ['(']\n");
    sandbox.run(&["completions", "bash"]).exits(0);
}
