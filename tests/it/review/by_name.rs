//! Reviewing without a screen: listing, showing, accepting and rejecting what is named.

use serde_json::{Value, json};

use super::pending;
use crate::support::process::run;

#[test]
fn what_is_pending_is_listed_for_people_and_for_scripts() {
    let sandbox = pending();
    insta::assert_snapshot!(sandbox.run(&["review", "--list"]).exits(0).stdout, @r#"
    demo/001  tool-renamed Write → Read
    demo/002  no-snapshot Read {"file_path":"hello.txt"}
    demo/003  no-snapshot Read {"file_path":"hello.txt"}
    "#);
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
    sandbox.run(&["review", "--accept", "demo/002"]).exits(0);
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

#[test]
fn a_check_of_the_traces_asks_nothing() {
    let checked = pending().run(&["review", "--unreferenced", "fail"]).exits(0);
    assert_eq!(checked.stdout, "");
    let in_ci = run(pending().anyclaude(&["review", "--unreferenced", "fail"]).env("CI", "true"));
    assert_eq!(in_ci.exits(0).stdout, "");
}

/// Traces are found from the folder where they were replayed. Elsewhere all of them seem to be gone.
#[test]
fn nothing_is_deleted_where_no_trace_is_found() {
    let sandbox = pending();
    sandbox.run(&["review", "--accept"]).exits(0);
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    let delete = ["review", "--snapshots", "../snapshots", "--unreferenced", "delete"];
    let refused = run(sandbox.anyclaude(&delete).current_dir(sandbox.path("elsewhere"))).refusal();
    insta::assert_snapshot!(refused, @"exit 2: error: --unreferenced delete: there is no folder traces here, so nothing was deleted; run it in the folder where the traces were replayed, or delete the snapshots by hand");
    let reviewed = run(sandbox.anyclaude(&["review", "--snapshots", "../snapshots"]).current_dir(sandbox.path("elsewhere")));
    assert_eq!(reviewed.exits(0).stdout, "Nothing pending in ../snapshots.\n");
    assert_eq!(sandbox.files("snapshots").len(), 3);
    // Not a single trace: they may be somewhere else, though the folder is there.
    std::fs::remove_dir_all(sandbox.path("traces/demo")).unwrap();
    let refused = sandbox.run(&["review", "--unreferenced", "delete"]).refusal();
    assert!(refused.contains("not one of the snapshots has its trace here"), "{refused}");
    assert_eq!(sandbox.files("snapshots").len(), 3);
}

#[test]
fn a_broken_pending_file_is_listed_beside_the_others() {
    let sandbox = pending();
    sandbox.write("snapshots/demo__001.snap.new", "nonsense");
    let listed = sandbox.run(&["review", "--list"]).exits(2);
    insta::assert_snapshot!(listed.stdout, @r#"
    demo/001  unreadable: snapshots/demo__001.snap.new: a snapshot starts with a line of ---; delete it and replay again, or restore it from version control
    demo/002  no-snapshot Read {"file_path":"hello.txt"}
    demo/003  no-snapshot Read {"file_path":"hello.txt"}
    "#);
    let listed: Value = serde_json::from_str(&sandbox.run(&["review", "--list", "--json"]).exits(2).stdout).unwrap();
    assert_eq!((&listed[0]["change"], &listed[1]["error"]), (&json!("unreadable"), &Value::Null));
    let accepted = sandbox.run(&["review", "--accept"]).exits(2);
    assert!(
        accepted.stdout.ends_with("\nReviewed: 2 accepted, 0 rejected, 0 still pending, 1 left as they are\n"),
        "{}",
        accepted.stdout
    );
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__001.snap.new", "demo__002.snap", "demo__003.snap"]);
}

#[test]
fn malformed_arguments_are_not_accepted() {
    let sandbox = pending();
    let text = sandbox.read("snapshots/demo__002.snap.new");
    let broken = text.split("\"input\":").next().unwrap().to_owned() + "\"input\": \"{\\\"file\"}]}\n";
    sandbox.write("snapshots/demo__002.snap.new", broken);
    let ran = sandbox.run(&["review", "--accept", "demo/001", "demo/002"]).exits(2);
    assert!(ran.stdout.contains("the arguments of Read are no JSON object, and cannot be accepted"), "{}", ran.stdout);
    assert_eq!(sandbox.files("snapshots"), ["demo__001.snap", "demo__002.snap.new", "demo__003.snap.new"]);
}
