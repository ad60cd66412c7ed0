//! Several clients and upstreams at once: each exchange in the session that it names, each request at its upstream.

use std::collections::BTreeMap;
use std::fs;

use anyclaude::trace::{self, Trace};

use crate::support::output::line_of;
use crate::support::recorder::{Recorder, files};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Client, Message, REQUEST, Upstream, gate};

const FIRST: &str = "x-claude-code-session-id: 2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11";
const SECOND: &str = "x-claude-code-session-id: 7f0b6f0c-0d8e-4b55-8a43-6d1f9c1f1d22";
const AGENT: &str = "x-claude-code-agent-id: a17";

fn post(recorder: &Recorder, path: &str, headers: &[&str]) -> Message {
    Client::send(&recorder.address, "POST", path, headers, REQUEST).answer()
}

/// The traces by their paths below `traces`, a name made of the time as `TIME`.
fn traces(recorder: &Recorder) -> BTreeMap<String, Trace> {
    let root = recorder.sandbox.path("traces");
    let named = |file: std::path::PathBuf| {
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        let is_time = path.len() == "20260131-235959/0001.json".len();
        (if is_time { format!("TIME/{}", &path[16..]) } else { path }, trace::read(&file).unwrap())
    };
    files(&root).into_iter().map(named).collect()
}

#[test]
fn a_recorder_is_not_pointed_at_itself() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    for host in ["127.0.0.1", "localhost"] {
        let upstream = format!("http://{host}:{free}");
        let refusal = Sandbox::new().run(&["record", "--port", &free, "--upstream", &upstream]).refusal();
        let expected = format!("exit 2: error: --upstream {upstream}: this recorder itself listens there; ");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

#[test]
fn every_session_has_its_folder_and_goes_on_after_a_kill() {
    let (open, waits) = gate();
    let upstream = Upstream::start(move |request, answer| {
        if request.header("x-wait").is_some() {
            waits.wait();
        }
        answer.whole(200, &[], "{}")
    });
    let recorder = Recorder::start_service(Sandbox::new(), &["--upstream", &upstream.url()]);
    // The first session's request is open while the second comes and goes.
    let slow = Client::send(&recorder.address, "POST", "/v1/messages", &[FIRST, "x-wait: 1"], REQUEST);
    post(&recorder, "/v1/messages", &[SECOND]);
    post(&recorder, "/v1/messages", &[FIRST, AGENT]);
    post(&recorder, "/v1/messages", &[]);
    post(&recorder, "/v1/messages", &["x-claude-code-session-id: ../../elsewhere"]);
    open.send(()).unwrap();
    slow.answer();
    let sandbox = recorder.kill();

    let mut recorder = Recorder::start_service(sandbox, &["--upstream", &upstream.url()]);
    post(&recorder, "/v1/messages", &[FIRST]);
    let ran = recorder.stop().exits(0);
    assert_eq!(line_of(&ran.stderr, "recorded "), "recorded 1 exchange to traces");
    let traces = traces(&recorder);
    insta::assert_snapshot!(traces.keys().cloned().collect::<Vec<_>>().join("\n"), @"
    2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11-agent-a17/0001.json
    2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11/0001.json
    2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11/0002.json
    7f0b6f0c-0d8e-4b55-8a43-6d1f9c1f1d22/0001.json
    TIME/0001.json
    TIME/0002.json
    ");
    for (path, trace) in traces.iter().filter(|(path, _)| !path.starts_with("TIME")) {
        assert_eq!((path.split_once('/').unwrap().0, trace.upstream.as_deref()), (trace.session.as_str(), None));
    }
}

#[test]
fn what_is_recorded_is_said_for_all_sessions() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{}"));
    let mut recorder = Recorder::start_service(Sandbox::new(), &["--upstream", &upstream.url()]);
    post(&recorder, "/v1/messages", &[FIRST]);
    post(&recorder, "/v1/messages", &[SECOND]);
    let ran = recorder.stop().exits(0);
    insta::with_settings!({filters => [(r"\d+(\.\d+)? (µs|ms|s)\n", "[time]\n")]}, {
        insta::assert_snapshot!(recorder.sandbox.portable(&ran.stderr), @"
        recording http://127.0.0.1:[port] → http://127.0.0.1:[port], into traces, a folder for each session
        point Claude Code at it: ANTHROPIC_BASE_URL=http://127.0.0.1:[port] claude
        if the upstream asks for no key, and Claude Code has no login of its own: with ANTHROPIC_API_KEY=local, too
        stop with Ctrl-C
        2c6d1f6e-6a51-4d0c-9a0e-0b8f5b6f3a11/0001 POST /v1/messages 200 complete, [time]
        7f0b6f0c-0d8e-4b55-8a43-6d1f9c1f1d22/0001 POST /v1/messages 200 complete, [time]
        recorded 2 exchanges of 2 sessions to traces
        ");
    });
}

/// An upstream that answers with its name and the request's line.
fn named(name: &'static str) -> Upstream {
    Upstream::start(move |request, answer| answer.whole(200, &[], format!("{name}: {}", request.line)))
}

#[test]
fn each_prefix_leads_to_its_upstream_and_the_trace_names_it() {
    let (rest, short, long) = (named("rest"), named("short"), named("long"));
    let routes = [rest.url(), format!("/a={}/api", short.url()), format!("/a/b={}", long.url())];
    let arguments: Vec<&str> = routes.iter().flat_map(|route| ["--upstream", route]).collect();
    let recorder = Recorder::start_service(Sandbox::new(), &arguments);
    for (path, expected) in [
        ("/v1/messages?beta=true", "rest: POST /v1/messages?beta=true HTTP/1.1"),
        ("/a/v1/messages?beta=true", "short: POST /api/v1/messages?beta=true HTTP/1.1"),
        ("/a/b/v1/messages", "long: POST /v1/messages HTTP/1.1"),
        ("/ab/v1/messages", "rest: POST /ab/v1/messages HTTP/1.1"),
    ] {
        assert_eq!(post(&recorder, path, &[]).text(), expected);
    }
    assert_eq!(post(&recorder, "/a/../v1/messages", &[]).status(), 502);
    let recorded = traces(&recorder);
    let seen: Vec<_> = recorded.values().map(|trace| (&*trace.request.path, trace.upstream.clone().unwrap())).collect();
    let expected = [
        ("/v1/messages?beta=true", rest.url()),
        ("/v1/messages?beta=true", format!("{}/api", short.url())),
        ("/v1/messages", long.url()),
        // The one that was refused.
        ("/../v1/messages", format!("{}/api", short.url())),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn upstreams_may_come_from_the_settings() {
    let (openrouter, flag) = (named("openrouter"), named("flag"));
    let sandbox = Sandbox::new();
    sandbox.write_home("anyclaude.toml", format!("[recorder]\nupstream = ['/openrouter={}']\n", openrouter.url()));
    let recorder = Recorder::start_service(sandbox, &[]);
    let root = recorder.address.strip_suffix("/openrouter").unwrap().to_owned();
    let asked = |path: &str| Client::send(&root, "POST", path, &[], REQUEST).answer();
    assert_eq!(asked("/openrouter/v1/messages").text(), "openrouter: POST /v1/messages HTTP/1.1");
    let refused = asked("/v1/messages");
    assert_eq!(refused.status(), 404);
    assert!(refused.text().contains("no upstream for this path: it must begin with /openrouter"), "{}", refused.text());
    // A flag replaces the whole list.
    let recorder = Recorder::start_service(recorder.kill(), &["--upstream", &flag.url()]);
    assert_eq!(post(&recorder, "/v1/messages", &[]).text(), "flag: POST /v1/messages HTTP/1.1");
}

#[test]
fn prefixes_that_lead_nowhere_are_wrong_usage() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &[&str]| sandbox.run(&[&["record", "--port", "0"], arguments].concat()).refusal();
    let cases: [&[&str]; 4] = [
        &["--upstream", "/a=http://one.example", "--upstream", "/a/=http://two.example"],
        &["--upstream", "http://one.example", "--upstream", "http://two.example"],
        &["--upstream", "/v1=http://one.example"],
        &["--upstream", "/a=http://one.example", "--", "true"],
    ];
    insta::assert_snapshot!(cases.map(refused).concat(), @"
    exit 2: error: --upstream /a=http://one.example and /a=http://two.example have the same prefix; give each upstream one of its own
    exit 2: error: --upstream http://one.example and http://two.example have the same prefix; give each upstream one of its own
    exit 2: error: --upstream /v1=http://one.example: a prefix cannot begin with /v1, which is how the clients' own paths begin; give a base URL like https://api.anthropic.com or http://127.0.0.1:8081
    exit 2: error: --upstream: a command is pointed at the upstream without a prefix; give one, too
    ");
    assert!(!sandbox.path("traces").exists(), "nothing is left behind");
}

#[test]
fn old_sessions_go_and_what_a_kill_left_is_finished() {
    let upstream = Upstream::start(|_, answer| {
        answer.stream()?;
        answer.wait_for_close();
        Ok(())
    });
    let recorder = Recorder::start_service(Sandbox::new(), &["--upstream", &upstream.url()]);
    let mut client = Client::send(&recorder.address, "POST", "/v1/messages", &[FIRST], REQUEST);
    assert_eq!(client.head().status(), 200);
    let sandbox = recorder.kill();
    for (trace, days) in [("20200101-000000/0001.json", 40), ("20200101-000000-2/0001.json", 20), ("mine/0001.json", 40)] {
        let path = format!("traces/{trace}");
        sandbox.write(&path, "x".repeat(2_000_000));
        let written = std::time::SystemTime::now() - std::time::Duration::from_secs(days * 24 * 60 * 60);
        fs::File::options().write(true).open(sandbox.path(&path)).unwrap().set_modified(written).unwrap();
    }
    sandbox.write("traces/20200101-000000-2/notes.txt", "mine");
    let mut recorder =
        Recorder::start_service(sandbox, &["--upstream", &upstream.url(), "--keep-days", "30", "--keep-bytes", "2MB"]);
    let removed = recorder.says("removed ");
    assert_eq!(removed, "removed 2 old sessions (2 traces, 4.00 MB)");
    let ran = recorder.stop().exits(0);
    insta::assert_snapshot!(recorder.sandbox.portable(&ran.stderr), @"
    recovered 1 trace that was left when a recorder was killed
    recording http://127.0.0.1:[port] → http://127.0.0.1:[port], into traces, a folder for each session
    keeping sessions for 30 days, and up to 2.00 MB of them
    point Claude Code at it: ANTHROPIC_BASE_URL=http://127.0.0.1:[port] claude
    if the upstream asks for no key, and Claude Code has no login of its own: with ANTHROPIC_API_KEY=local, too
    stop with Ctrl-C
    removed 2 old sessions (2 traces, 4.00 MB)
    recorded no exchanges: no request under /v1/ came
    ");
    let root = recorder.sandbox.path("traces");
    let left: Vec<_> = files(&root).iter().map(|file| file.strip_prefix(&root).unwrap().display().to_string()).collect();
    let recovered = format!("{}/0001.json", FIRST.split_once(": ").unwrap().1);
    assert_eq!(left, ["20200101-000000-2/notes.txt", &*recovered, "mine/0001.json"]);
}

#[test]
fn a_session_is_not_named_by_a_secret() {
    let upstream = Upstream::start(|_, answer| answer.whole(200, &[], "{}"));
    let sandbox = Sandbox::new();
    sandbox.write("anyclaude.toml", "[redact]\npatterns = ['ACME-[0-9]{4}']\n");
    let mut recorder = Recorder::start_service(sandbox, &["--upstream", &upstream.url()]);
    let key = concat!("sk-ant-", "api03-Zk3vQ9xTbM1nR7wLpY5cHd2e");
    for name in [key, "of-ACME-1234"] {
        post(&recorder, "/v1/messages", &[&format!("x-claude-code-session-id: {name}")]);
    }
    let log = recorder.stop().exits(0).stderr;
    let traces = traces(&recorder);
    assert_eq!(traces.keys().collect::<Vec<_>>(), ["TIME/0001.json", "TIME/0002.json"]);
    let written = log + &serde_json::to_string(&traces.values().collect::<Vec<_>>()).unwrap();
    assert!(!written.contains(key) && !written.contains("ACME-1234"), "{written}");
}
