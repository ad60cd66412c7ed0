use super::*;
use crate::review::testing::{calls, changed, new};
use serde_json::json;

#[test]
fn what_differs_is_first_and_has_the_path_of_a_rule() {
    let input = |path: &str| json!({"limit": 5, "file_path": path, "todos": [{"id": 1}]});
    let arguments = arguments(&changed(1, ("Read", input("/a/b")), ("Read", input("/c/b"))));
    let labels: Vec<_> = arguments.iter().map(|argument| (argument.label.as_str(), argument.kind.as_deref())).collect();
    assert_eq!(labels, [("Read file_path", Some("path-changed")), ("Read limit", None), ("Read todos", None)]);
    assert_eq!(arguments[0].rule_path, Some(("Read".into(), "$.file_path".into())));
    assert_eq!((&arguments[0].accepted, &arguments[0].found), (&Some(json!("/a/b")), &Some(json!("/c/b"))));
}

#[test]
fn a_renamed_tool_still_has_its_arguments() {
    let arguments = arguments(&changed(1, ("Read", json!({"a": 1})), ("read_file", json!({"a": 1}))));
    let labels: Vec<_> = arguments.iter().map(|argument| argument.label.as_str()).collect();
    assert_eq!(labels, ["read_file name", "read_file a"]);
}

#[test]
fn a_new_outcome_has_nothing_accepted_and_the_recorded_value_is_found_by_its_place() {
    let pending = new(1, "Read", json!({"file_path": "a", "-n": true, "a.b": [1]}));
    let arguments = arguments(&pending);
    let recorded: Vec<_> = arguments.iter().map(|argument| argument.in_outcome(&pending.snapshot.outcome)).collect();
    assert_eq!(recorded, [Some(json!("a")), Some(json!(true)), Some(json!([1]))]);
    assert!(arguments.iter().all(|argument| argument.accepted.is_none()));
}

#[test]
fn calls_are_whole_wherever_calls_changed() {
    let (bash, read) = (("Bash", json!({"command": "rm -rf /"})), ("Read", json!({"file_path": "a"})));
    let whole = |(name, input): &(&str, Value)| json!({"name": name, "input": input});
    let (one, other) = (whole(&bash), whole(&read));
    let both = [json!([one, other]), json!([other, one])];
    let (b, r) = (&bash, &read);
    let table = [
        (vec![], vec![b], "call-instead-of-text", None, Some(&one)),
        (vec![b], vec![], "text-instead-of-call", Some(&one), None),
        (vec![r], vec![b], "other-tool", Some(&other), Some(&one)),
        (vec![b, r], vec![r, b], "calls-reordered", Some(&both[0]), Some(&both[1])),
        (vec![b], vec![b, r], "call-added", None, Some(&other)),
        (vec![b, r], vec![b], "call-missing", Some(&other), None),
    ];
    for (accepted, found, kind, old, new) in table {
        let listed = arguments(&calls(1, &accepted, &found));
        assert_eq!(listed[0].kind.as_deref(), Some(kind));
        assert_eq!((listed[0].accepted.as_ref(), listed[0].found.as_ref()), (old, new), "{kind}");
    }
}

#[test]
fn a_call_in_the_place_of_one_that_is_gone_is_still_shown() {
    let (bash, read) = (("Bash", json!({"command": "ls"})), ("Read", json!({"file_path": "a"})));
    let listed = arguments(&calls(1, &[&bash, &read], &[&read]));
    let labels: Vec<_> = listed.iter().map(|argument| argument.label.as_str()).collect();
    assert_eq!(labels, ["Bash", "Read file_path"]);
}

#[test]
fn items_of_lists_have_one_path_and_names_their_quotes() {
    assert_eq!(any_item(".todos[12].id[3][0]"), ".todos[*].id[*][*]");
    let input = |value: i32| json!({"-n": value, "a.b": [{"x[0]": value}]});
    let listed = arguments(&changed(1, ("Grep", input(1)), ("Grep", input(2))));
    let paths: Vec<_> = listed.iter().filter_map(|argument| argument.rule_path.clone()).map(|(_, path)| path).collect();
    assert_eq!(paths, ["$['-n']", "$['a.b'][*]['x[0]']"]);
}
