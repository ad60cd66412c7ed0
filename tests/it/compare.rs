//! `anyclaude compare` as its users run it.

use serde_json::{Value, json};

use crate::support::demo::session;
use crate::support::process::Ran;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

fn replay(sandbox: &Sandbox, server: &ReplayBackend, more: &[&str]) -> Ran {
    sandbox.run(&[&["replay", "--backend", &server.url], more].concat())
}

#[test]
fn a_lost_trace_is_named_and_fails() {
    let (good, bad) =
        (ReplayBackend::with_cache_control(Flaw::None), ReplayBackend::with_cache_control(Flaw::MalformedArguments));
    let sandbox = session();
    replay(&sandbox, &good, &["--update", "--json", "a.json"]).exits(0);
    replay(&sandbox, &bad, &["--check", "--json", "b.json"]).exits(1);
    let lost = sandbox.run(&["compare", "a.json", "b.json"]).exits(1);
    let flips = lost.stdout.split_once("\n\n").unwrap().1.split_once("\n\n").unwrap().0;
    insta::assert_snapshot!(portable(flips), @r#"
      Lost
        demo/001  UPDATED → MALFORMED
            malformed-arguments: tool_use[0].input: {"file_path":"hello.txt"} is accepted, "{\"file_path\":\"hello.txt\"" came
    "#);
    assert!(lost.stdout.contains("cold TTFT p50") && lost.stdout.contains("cached cache hits"), "{}", lost.stdout);
    assert!(lost.stdout.ends_with("Summary 1 lost, 0 won, 0 changed, 1 the same\n"), "{}", lost.stdout);
    let won = sandbox.run(&["compare", "b.json", "a.json"]).exits(0);
    assert!(won.stdout.ends_with("Summary 0 lost, 1 won, 0 changed, 1 the same\n"), "{}", won.stdout);
}

#[test]
fn the_json_has_what_differs_as_its_schema_says() {
    let (good, bad) =
        (ReplayBackend::with_cache_control(Flaw::None), ReplayBackend::with_cache_control(Flaw::MalformedArguments));
    let sandbox = session();
    replay(&sandbox, &good, &["--update", "--json", "a.json"]).exits(0);
    replay(&sandbox, &bad, &["--check", "--json", "b.json"]).exits(1);
    let ran = sandbox.run(&["compare", "a.json", "b.json", "--json", "-"]).exits(1);
    let compared: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(ran.stderr.ends_with("Summary 1 lost, 0 won, 0 changed, 1 the same\n"), "{}", ran.stderr);
    let lost = &compared["lost"][0];
    assert_eq!((&lost["id"], &lost["b"]["finding"]["kind"]), (&json!("demo/001"), &json!("malformed-arguments")));
    assert_eq!((&compared["same"], &compared["won"], &compared["finished"]), (&json!(1), &json!([]), &json!([true, true])));
    let schema: Value = serde_json::from_str(include_str!("../../docs/compare.schema.json")).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema).unwrap().iter_errors(&compared).map(|e| e.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    // To a file, the lines for people stay where they are.
    let ran = sandbox.run(&["compare", "a.json", "b.json", "--json", "out/c.json"]).exits(1);
    assert!(ran.stdout.contains("Summary 1 lost"), "{}", ran.stdout);
    let written: Value = serde_json::from_str(&sandbox.read("out/c.json")).unwrap();
    assert_eq!(written, compared);
}

#[test]
fn what_is_no_finished_replay_is_refused_with_what_to_do() {
    let server = ReplayBackend::with_cache_control(Flaw::None);
    let sandbox = session();
    replay(&sandbox, &server, &["--update", "--json", "a.json"]).exits(0);
    let two = [
        "replay",
        "--backend",
        &format!("one={}", server.url),
        "--backend",
        &format!("two={}", server.url),
        "--json",
        "two.json",
    ];
    sandbox.run(&two).exits(0);
    sandbox.write("odd.json", "[]");
    let refusals = ["two.json", "odd.json", "missing.json"].map(|file| sandbox.run(&["compare", "a.json", file]).refusal());
    insta::assert_snapshot!(portable(&refusals.concat()), @"
    exit 2: error: two.json: figures of several backends; take those of one: jq '.backends[0].report' FILE
    exit 2: error: odd.json: not the figures of a replay
    exit 2: error: missing.json: No such file or directory (os error [number])
    ");
}
