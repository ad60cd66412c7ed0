//! What must never be on the disk or in the log.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use walkdir::WalkDir;

use super::{problems_of, wait_for_text};
use crate::support::recorder::Recorder;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Client, Upstream, frames, gate, text_frame};

#[test]
fn no_secret_is_ever_on_the_disk() {
    const KEY: &str = "my-own-key-0123456789";
    const TOKEN: &str = "bearer-token-987654321";
    const QUERY: &str = "query-secret-5555";
    const FOREIGN: &str = "sk-ant-api03-ForeignKey_abc123";
    let secrets = [KEY, TOKEN, QUERY, FOREIGN, "cookie-4242-value", "hunter2-password"];
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.head(200, &["content-type: text/event-stream", &format!("set-cookie: {TOKEN}"), &format!("x-echo: {KEY}")])?;
        answer.chunk(frames()[..2].concat())?;
        // Whole, and spread over deltas.
        answer.chunk(text_frame(&format!("Your key is {KEY}, yes ")))?;
        for piece in ["and my", "-own-ke", "y-0123456789. Then sk-an", "t-api03-ForeignKey_", "abc123 ok. "] {
            answer.chunk(text_frame(piece))?;
        }
        answer.chunk(text_frame("{\"api_key\": \"hunter2-"))?;
        answer.chunk(text_frame("password\"} done."))?;
        gate.wait();
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    let recorder = Recorder::start_with(&upstream.url(), &[("ANYCLAUDE_DEBUG", "3")]);
    let body = json!({"model": "m", "max_tokens": 1, "api_key": "hunter2-password", "messages": [
        {"role": "user", "content": format!("{KEY} {FOREIGN}")}]});
    let headers = [
        &format!("x-api-key: {KEY}"),
        &format!("authorization: Bearer {TOKEN}"),
        "cookie: session=cookie-4242-value",
        &format!("x-other: see {TOKEN}"),
    ];
    let path = format!("/v1/messages?token={QUERY}");
    let mut client = Client::send(&recorder.address, "POST", &path, &headers, body.to_string());
    client.head();
    client.read_until("done.");
    let search = || {
        for file in recorder.files() {
            let content = fs::read(&file).unwrap();
            for secret in secrets {
                assert!(!content.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} in {}", file.display());
            }
        }
    };
    let partial = recorder.session("0001.json.partial");
    wait_for_text(&partial, "done.");
    search();
    open.send(()).unwrap();
    client.read_until("message_stop");
    search();
    let trace = recorder.trace();
    assert_eq!(
        trace.response.body["content"][0]["text"],
        "Your key is [redacted], yes and [redacted]. Then [redacted] ok. {\"api_key\": \"[redacted]\"} done."
    );
    assert_eq!(trace.request.path, "/v1/messages?token=[redacted]");
    assert_eq!(trace.request.headers["x-other"], "see [redacted]");
    assert_eq!(problems_of(&trace), Vec::<String>::new());
    let mut recorder = recorder;
    let log = recorder.stop().stderr;
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in the log: {log}");
    }
}

#[test]
fn what_the_users_patterns_match_is_kept_out_like_any_secret() {
    let upstream = Upstream::start(move |_, answer| {
        answer.head(200, &["content-type: text/event-stream", "x-ticket: ACME-1234"])?;
        answer.chunk(frames()[..2].concat())?;
        for piece in ["See ACM", "E-12", "34 there. "] {
            answer.chunk(text_frame(piece))?;
        }
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", "[redact]\npatterns = ['ACME-[0-9]{4}']\n");
    let mut recorder = Recorder::start_in(sandbox, &upstream.url(), &[("ANYCLAUDE_DEBUG", "3")]);
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "ACME-1234 and 1234"}]});
    Client::send(&recorder.address, "POST", "/v1/messages?note=ACME-1234", &["x-ticket: ACME-1234"], body.to_string()).answer();
    let log = recorder.stop().stderr;
    let trace = recorder.trace();
    assert_eq!(trace.request.body["messages"][0]["content"], "[redacted] and 1234");
    assert!(trace.response.body["content"][0]["text"].as_str().unwrap().starts_with("See [redacted] there. "));
    let written = serde_json::to_string(&trace).unwrap() + &log;
    assert!(!written.contains("ACME-1234") && written.contains("[redacted]"), "{written}");
    // Tools that share traces look for them too.
    let path = recorder.session("0001.json");
    let told = fs::read_to_string(&path).unwrap().replace("[redacted] and", "ACME-5678 and");
    fs::write(&path, told).unwrap();
    let validated = recorder.sandbox.run(&["trace", "validate", "traces"]);
    insta::assert_snapshot!(validated.stdout, @"
    problem: traces/s/0001.json: request.body holds what looks like a secret; do not share this file
    1 trace: 1 problem, 0 warnings
    ");
    recorder.sandbox.run(&["trace", "scrub", "--keep-turns", "--out", "clean", "traces"]).exits(0);
    assert!(!recorder.sandbox.read("clean/s/0001.json").contains("5678"));
}

#[test]
fn folders_and_files_of_recordings_are_their_owners_alone() {
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..5].concat())?;
        gate.wait();
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    // What is made would be everybody's.
    let umask = rustix::process::umask(rustix::fs::Mode::empty());
    let recorders = [Recorder::start(&upstream.url()), Recorder::start_service(Sandbox::new(), &["--upstream", &upstream.url()])];
    rustix::process::umask(umask);
    let check = |recorder: &Recorder, file: &str| {
        let entries: Vec<_> = WalkDir::new(recorder.sandbox.path("traces")).into_iter().map(Result::unwrap).collect();
        assert!(entries.iter().any(|entry| entry.file_name().to_string_lossy().ends_with(file)), "{entries:?}");
        for entry in entries {
            let (mode, is_folder) = (entry.metadata().unwrap().permissions().mode() & 0o777, entry.file_type().is_dir());
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{entry:?}");
        }
    };
    for recorder in &recorders {
        let mut client = Client::post(&recorder.address, "{}");
        client.head();
        client.read_until("look");
        check(recorder, ".partial");
        open.send(()).unwrap();
        client.read_until("message_stop");
        check(recorder, "0001.json");
    }
}
