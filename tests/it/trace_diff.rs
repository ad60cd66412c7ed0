//! `anyclaude trace diff` and `trace dedupe`.

use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, repository};

/// A sandbox with a committed trace, and the same with some changes.
fn with_changed(change: impl Fn(&mut Value)) -> Sandbox {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(repository("traces/read-file/0001.json")).unwrap();
    let mut trace: Value = serde_json::from_str(&text).unwrap();
    sandbox.write("traces/s/0001.json", trace.to_string());
    change(&mut trace);
    sandbox.write("traces/s/0002.json", trace.to_string());
    sandbox
}

#[test]
fn what_differs_is_named_by_place_and_kind() {
    let sandbox = with_changed(|trace| {
        let body = &mut trace["request"]["body"];
        body["model"] = "other".into();
        body["tools"].as_array_mut().unwrap().remove(0);
        body["messages"][0]["content"][0]["text"] = "one\ntwo".into();
        let blocks = trace["response"]["body"]["content"].as_array_mut().unwrap();
        let call = blocks.iter_mut().find(|block| block["type"] == "tool_use").unwrap();
        call["id"] = "another".into();
        call["input"]["file_path"] = "other.txt".into();
    });
    let files = ["traces/s/0001.json", "traces/s/0002.json"];
    let said = sandbox.run(&["trace", "diff", files[0], files[1]]).exits(1).stdout;
    let places: Vec<&str> =
        said.lines().filter(|line| line.starts_with("re")).map(|line| line.get(..70).unwrap_or(line)).collect();
    insta::assert_snapshot!(places.join("\n"), @r#"
    request.body.model: "claude-opus-5-5" → "other"
    request.body.messages[0].content[0].text:
    request.body.tools[0]: only in A: {"name":"Agent","description":"Launc
    response.tool_use[0].input.file_path: argument-changed: "/home/user/pr
    "#);
    let found = sandbox.run(&["trace", "diff", "--json", files[0], files[1]]).exits(1).stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    let call = found.as_array().unwrap().iter().find(|one| one["kind"] == "argument-changed").unwrap();
    assert_eq!((&call["place"], &call["b"]), (&json!("response.tool_use[0].input.file_path"), &json!("other.txt")));
    assert_eq!(sandbox.run(&["trace", "diff", files[0], files[0]]).exits(0).stdout, "");
}

#[test]
fn what_asks_the_same_is_removed_only_if_told_to() {
    let sandbox = with_changed(|trace| {
        trace["recorded_at"] = "2020-01-01T00:00:00Z".into();
        trace["request"]["body"]["metadata"] = json!({"user_id": "somebody else"});
    });
    sandbox.write("traces/t/0001.json", std::fs::read(repository("traces/edit-file/0001.json")).unwrap());
    let said = sandbox.run(&["trace", "dedupe"]).exits(0).stdout;
    insta::assert_snapshot!(said, @"
    traces/s/0001.json asks what traces/s/0002.json asks
    3 traces: 1 repeated; --delete removes them
    ");
    assert!(sandbox.path("traces/s/0001.json").exists());
    let said = sandbox.run(&["trace", "dedupe", "--delete"]).exits(0).stdout;
    assert!(said.ends_with("3 traces: 1 repeated, removed\n"), "{said}");
    assert!(!sandbox.path("traces/s/0001.json").exists() && sandbox.path("traces/s/0002.json").exists());
    assert_eq!(sandbox.run(&["trace", "dedupe"]).exits(0).stdout, "2 traces: 0 repeated\n");
}

#[test]
fn what_two_upstreams_were_asked_is_not_the_same() {
    let sandbox = with_changed(|trace| trace["upstream"] = "https://other.example".into());
    assert_eq!(sandbox.run(&["trace", "dedupe"]).exits(0).stdout, "2 traces: 0 repeated\n");
}

#[test]
fn a_whole_answer_is_kept_though_it_is_younger() {
    let sandbox = with_changed(|trace| {
        trace["recorded_at"] = "2020-01-01T00:00:00Z".into();
        trace["outcome"] = "truncated".into();
    });
    let said = sandbox.run(&["trace", "dedupe"]).exits(0).stdout;
    assert!(said.starts_with("traces/s/0002.json asks what traces/s/0001.json asks\n"), "{said}");
}
