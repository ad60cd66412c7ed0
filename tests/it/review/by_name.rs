//! Reviewing without a screen: listing, showing, accepting and rejecting what is named.

use serde_json::{Value, json};

use super::pending;
use crate::support::process::run;

#[test]
fn what_is_pending_is_listed_for_people_and_for_scripts() {
    let sandbox = pending();
    insta::assert_snapshot!(sandbox.run(&["review", "--list"]).exits(0).stdout, @"
    demo/001  tool-renamed Write → Read
    demo/002  no-snapshot Read
    demo/003  no-snapshot Read
    ");
    let listed: Value = serde_json::from_str(&sandbox.run(&["review", "--list", "--json"]).exits(0).stdout).unwrap();
    let finding = json!({"kind": "tool-renamed", "place": "tool_use[0].name", "accepted": "Write", "found": "Read"});
    assert_eq!(
        listed[0],
        json!({
            "id": "demo/001", "file": "snapshots/demo__001.snap.new", "change": "tool-renamed Write → Read", "findings": [finding],
        })
    );
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(sandbox.files("snapshots").len(), 4, "nothing was decided");
}

#[test]
fn one_is_shown_by_its_name() {
    let shown = pending().run(&["review", "--show", "demo/002"]).exits(0).stdout;
    assert!(shown.contains("snapshots/demo__002.snap.new") && shown.contains("+      \"name\": \"Read\""), "{shown}");
    insta::assert_snapshot!(pending().run(&["review", "--show", "demo"]).refusal(), @"exit 2: error: demo: 3 exchanges of this session are pending; name one");
    insta::assert_snapshot!(pending().run(&["review", "--show", "demo/9"]).refusal(), @"exit 2: error: demo/9: nothing of this name is pending; `anyclaude review --list` has the names");
}

#[test]
fn exchanges_and_sessions_are_accepted_and_rejected_by_name() {
    let sandbox = pending();
    let ran = sandbox.run(&["review", "--accept", "demo/001", "--reject", "demo/003"]).exits(0);
    assert!(ran.stdout.ends_with("\nReviewed: 1 accepted, 1 rejected, 1 still pending\n"), "{}", ran.stdout);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap.new"]);
    let sandbox = pending();
    sandbox.run(&["review", "--accept", "demo"]).exits(0);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap", "demo__003.snap"]);
}

#[test]
fn a_wrong_name_changes_nothing() {
    let sandbox = pending();
    insta::assert_snapshot!(sandbox.run(&["review", "--accept", "demo/001", "dmeo/002"]).refusal(), @"exit 2: error: dmeo/002: nothing of this name is pending; `anyclaude review --list` has the names");
    insta::assert_snapshot!(sandbox.run(&["review", "--accept", "demo/001", "--reject", "demo"]).refusal(), @"exit 2: error: snapshots/demo__001.snap.new: it is to be accepted and to be rejected; name it once");
    assert_eq!(sandbox.files("snapshots").len(), 4);
}

#[test]
fn snapshots_without_a_trace_can_fail_or_be_deleted() {
    let sandbox = pending();
    sandbox.run(&["review", "--list", "--unreferenced", "fail"]).exits(0);
    std::fs::remove_file(sandbox.path("traces/demo/001.json")).unwrap();
    let failed = sandbox.run(&["review", "--list", "--unreferenced", "fail"]).exits(1);
    assert!(failed.stdout.contains("whose trace is gone"), "{}", failed.stdout);
    let in_ci = run(sandbox.anyclaude(&["review", "--list", "--unreferenced", "delete"]).env("CI", "true"));
    assert_eq!(in_ci.exits(2).stdout, "");
    sandbox.run(&["review", "--list", "--unreferenced", "delete"]).exits(0);
    assert!(!sandbox.path("snapshots/demo__001.snap").exists());
    sandbox.run(&["review", "--list", "--unreferenced", "fail"]).exits(0);
}
