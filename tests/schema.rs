//! `anyclaude schema diff`: the tools of two traces.

#[path = "support/launched.rs"]
mod launched;

use launched::{Place, stderr, stdout};
use serde_json::{Value, json};

const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/read-file/0001.json");
const SESSION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/read-file");

#[test]
fn the_same_tools_are_no_difference_whatever_else_differs() {
    let output = Place::new().run(&["schema", "diff", TRACE, SESSION]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).ends_with(": 0 only in A, 0 only in B, 0 changed\n"), "{}", stdout(&output));
}

#[test]
fn a_tool_less_and_a_changed_parameter_are_told() {
    let place = Place::new();
    let mut trace: Value = serde_json::from_str(&std::fs::read_to_string(TRACE).unwrap()).unwrap();
    let tools = trace["request"]["body"]["tools"].as_array_mut().unwrap();
    tools.retain(|tool| tool["name"] != "Bash");
    tools.push(json!({"name": "Fly", "input_schema": {}}));
    let read = tools.iter_mut().find(|tool| tool["name"] == "Read").unwrap();
    read["input_schema"]["properties"]["file_path"]["type"] = json!("array");
    place.write("0001.json", &trace.to_string());
    let output = place.run(&["schema", "diff", TRACE, "0001.json"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        ["- Bash  only in A", "+ Fly  only in B", "~ Read", "    input_schema.properties.file_path.type: \"string\" → \"array\"",]
    );
}

#[test]
fn a_trace_without_tools_is_an_error() {
    let place = Place::new();
    let mut trace: Value = serde_json::from_str(&std::fs::read_to_string(TRACE).unwrap()).unwrap();
    trace["request"]["body"]["tools"] = json!([]);
    place.write("0001.json", &trace.to_string());
    let output = place.run(&["schema", "diff", TRACE, "0001.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("0001.json: no request in it has tools"), "{}", stderr(&output));
}
