//! Several backends in one replay, side by side.

use serde_json::{Value, json};

use super::{accepted, healthy};
use crate::support::process::{Ran, run};
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

fn replay(sandbox: &Sandbox, backends: &[(&str, &ReplayBackend)], more: &[&str]) -> Ran {
    let named: Vec<_> = backends.iter().map(|(name, server)| format!("{name}={}", server.url)).collect();
    let backends = named.iter().flat_map(|backend| ["--backend", backend]);
    sandbox.run(&["replay"].into_iter().chain(backends).chain(more.iter().copied()).collect::<Vec<_>>())
}

/// The cells of a row of the table.
fn row<'a>(ran: &'a Ran, name: &str) -> Vec<&'a str> {
    let line = ran.stdout.lines().find(|line| line.trim_start().starts_with(name));
    let cells = line.unwrap_or_else(|| panic!("no {name} in\n{}", ran.stdout)).trim_start().strip_prefix(name).unwrap();
    cells.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn each_backend_is_a_column_and_what_differs_is_below() {
    let (good, bad) = (healthy(), ReplayBackend::without_cache_control(Flaw::MalformedArguments));
    let sandbox = accepted(&good);
    let files = ["--json", "side.json", "--junit", "side.xml", "--html", "side.html", "--hgrm", "hgrm"];
    let ran = replay(&sandbox, &[("good", &good), ("bad", &bad)], &files).exits(1);
    assert_eq!(row(&ran, "as accepted"), ["2 of 2", "1 of 2"]);
    assert_eq!(row(&ran, "malformed arguments"), ["–", "1"]);
    assert_eq!(row(&ran, "cold and warm made by"), ["its cache", "salts"]);
    assert_eq!(row(&ran, "cold TTFT p50").len(), 2);
    let below = ran.stdout.split_once("not as accepted\n").unwrap().1;
    insta::assert_snapshot!(portable(below), @r#"
      demo/001
             PASS good: Read {"file_path":"hello.txt"}
        MALFORMED bad: Read "{\"file_path\":\"hello.txt\""
                  malformed-arguments: tool_use[0].input: {"file_path":"hello.txt"} is accepted, "{\"file_path\":\"hello.txt\"" came

         Summary 1 exchange answered differently by 2 backends
    "#);

    // Of two backends, none may decide what is accepted.
    assert!(!sandbox.files("snapshots").iter().any(|file| file.ends_with(".snap.new")), "{:?}", sandbox.files("snapshots"));
    let schema: Value = serde_json::from_str(include_str!("../../../docs/replay-backends.schema.json")).unwrap();
    let side: Value = serde_json::from_str(&sandbox.read("side.json")).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema).unwrap().iter_errors(&side).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!((&side["backends"][1]["name"], &side["differing"][0]["id"]), (&json!("bad"), &json!("demo/001")));
    assert!(sandbox.read("side.xml").contains(r#"classname="bad: demo""#), "{}", sandbox.read("side.xml"));
    assert!(sandbox.read("side.html").contains("<strong>MALFORMED</strong> bad: Read"), "{}", sandbox.read("side.html"));
    assert!(sandbox.read("hgrm/bad/cold-ttft.hgrm").contains("Percentile"));
}

#[test]
fn a_backend_that_is_gone_keeps_no_other_from_being_measured() {
    let (good, gone) = (healthy(), ReplayBackend::without_cache_control(Flaw::DisconnectsAfterOne));
    let sandbox = accepted(&good);
    let ran = replay(&sandbox, &[("gone", &gone), ("good", &good)], &[]).exits(3);
    assert_eq!(row(&ran, "as accepted"), ["0 of 2", "2 of 2"]);
}

/// Nobody listens there from the beginning on, wherever it stands among the others.
#[test]
fn a_backend_that_was_never_there_is_a_column_of_failures() {
    let good = healthy();
    let sandbox = accepted(&good);
    let (down, good) = ("down=http://127.0.0.1:1".to_owned(), format!("good={}", good.url));
    for (first, second, accepted) in [(&down, &good, ["0 of 2", "2 of 2"]), (&good, &down, ["2 of 2", "0 of 2"])] {
        let ran = sandbox.run(&["replay", "--json", "side.json", "--backend", first, "--backend", second]).exits(3);
        assert_eq!(row(&ran, "as accepted"), accepted);
        assert!(
            ran.stderr.contains("warning: down is gone: http://127.0.0.1:1: ") && ran.stderr.contains("refused"),
            "{}",
            ran.stderr
        );
        let side: Value = serde_json::from_str(&sandbox.read("side.json")).unwrap();
        let down = side["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "down").unwrap();
        assert_eq!(down["report"]["summary"]["kinds"], json!({"skipped": 1, "unreachable": 1}));
        assert_eq!(down["report"]["untested"]["not_run"], json!(["demo/002"]));
    }
}

/// A credential that no server can be sent is a mistake to mend, not a server that is down.
#[test]
fn what_is_wrong_with_the_set_up_ends_the_replay_at_once() {
    let good = healthy();
    let sandbox = accepted(&good);
    let (one, other) = (format!("one={}", good.url), format!("other={}", good.url));
    let mut command = sandbox.anyclaude(&["replay", "--backend", &one, "--backend", &other]);
    let ran = command.env("ANTHROPIC_API_KEY", "two\nlines").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("ANTHROPIC_API_KEY has characters that no HTTP header may have"), "{said}");
    assert!(ran.stdout.is_empty());
}

/// A snapshot that nothing tests is named, as with one backend.
#[test]
fn a_snapshot_whose_trace_is_gone_is_named_once() {
    let (one, other) = (healthy(), healthy());
    let sandbox = accepted(&one);
    std::fs::remove_file(sandbox.path("traces/demo/002.json")).unwrap();
    let ran = replay(&sandbox, &[("one", &one), ("other", &other)], &[]).exits(1);
    assert_eq!(ran.stderr, "warning: snapshots/demo__002.snap: its trace is gone, so nothing tests it\n");
}

/// Two models take the memory of both from the beginning on.
#[cfg(feature = "mlx")]
#[test]
fn models_that_are_loaded_at_once_are_said() {
    let sandbox = accepted(&healthy());
    let two = ["replay", "--backend", "a=mlx", "--backend", "b=mlx", "--filter", "001", "--phases", "cold", "--max-tokens", "1"];
    let ran = sandbox.run(&two);
    assert!(ran.stderr.contains("warning: 2 models are loaded at once; where memory is short"), "{}", ran.stderr);
}

/// A file that cannot be written ends the replay. What was measured until then is shown all the same.
#[test]
fn an_error_loses_no_figures() {
    let (one, other) = (healthy(), healthy());
    let sandbox = accepted(&one);
    // A folder where the second backend's first figures would go.
    std::fs::create_dir_all(sandbox.path("hgrm/other/cold-ttft.hgrm")).unwrap();
    let ran = replay(&sandbox, &[("one", &one), ("other", &other)], &["--hgrm", "hgrm"]).exits(2);
    assert_eq!(row(&ran, "as accepted"), ["2 of 2", "1 of 2"]);
    assert!(ran.stderr.contains("cannot write hgrm/other/cold-ttft.hgrm"), "{}", ran.stderr);
}

#[test]
fn backends_that_answer_alike_leave_nothing_to_say() {
    let (one, other) = (healthy(), ReplayBackend::without_cache_control(Flaw::None));
    let sandbox = accepted(&one);
    let ran = replay(&sandbox, &[("one", &one), ("other", &other)], &["--filter", "001"]).exits(0);
    assert!(ran.stdout.ends_with("Summary 0 exchanges answered differently by 2 backends\n"), "{}", ran.stdout);
}

#[test]
fn github_has_the_table_and_annotations_under_the_backends_names() {
    let (good, bad) = (healthy(), ReplayBackend::with_cache_control(Flaw::MalformedArguments));
    let sandbox = accepted(&good);
    let [one, other] = [("good", &good), ("bad", &bad)].map(|(name, server)| format!("{name}={}", server.url));
    let mut command = sandbox.anyclaude(&["replay", "--backend", &one, "--backend", &other]);
    let command = command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", sandbox.path("summary.md"));
    let ran = run(command).exits(1);
    assert!(ran.stdout.contains("title=malformed-arguments%3A bad%3A demo/001::"), "{}", ran.stdout);
    let summary = sandbox.read("summary.md");
    assert!(summary.starts_with("## Replay failed\n\n|") && summary.contains("| as accepted"), "{summary}");
}

#[test]
fn what_cannot_be_done_with_several_is_said() {
    let server = healthy();
    let sandbox = accepted(&server);
    let backends = [("one", &server), ("other", &server)];
    let twice = [("one", &server), ("one", &server)];
    let refusals =
        [(&backends, &["--update"][..]), (&backends, &["--baseline", "old.json"]), (&backends, &["--learn"]), (&twice, &[])];
    let refusals = refusals.map(|(backends, more)| replay(&sandbox, backends, more));
    let refusals: String = refusals.into_iter().map(|ran| ran.refusal()).collect();
    insta::assert_snapshot!(portable(&refusals), @"
    exit 2: error: --update with several backends: accept what one of them answers; give one --backend
    exit 2: error: --baseline with several backends: its figures are of one; give one --backend
    exit 2: error: --learn with several backends: its rules are for one; give one --backend
    exit 2: error: --backend: two are named one; give each a name of its own: --backend NAME=http://127.0.0.1:[port]
    ");
}
