//! `anyclaude schema diff`: the tools of two traces.

use serde_json::{Value, json};

use crate::support::TRACES;
use crate::support::process::Ran;
use crate::support::sandbox::Sandbox;

/// Compares the tools of a committed trace with those that `change` makes of them.
fn diff(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) -> Ran {
    let original = format!("{TRACES}/read-file/0001.json");
    let mut trace: Value = serde_json::from_slice(&std::fs::read(&original).unwrap()).unwrap();
    change(&mut trace["request"]["body"]["tools"]);
    sandbox.write("0001.json", trace.to_string());
    sandbox.run(&["schema", "diff", &original, "0001.json"])
}

#[test]
fn the_same_tools_are_no_difference_whatever_else_differs() {
    let (trace, session) = (format!("{TRACES}/read-file/0001.json"), format!("{TRACES}/read-file"));
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["schema", "diff", &trace, &session]).exits(0);
    insta::assert_snapshot!(sandbox.portable(&ran.stdout), @"12 tools in A, 12 in B: 0 only in A, 0 only in B, 0 changed");
}

#[test]
fn a_tool_less_and_a_changed_parameter_are_told() {
    let sandbox = Sandbox::new();
    let ran = diff(&sandbox, |tools| {
        let tools = tools.as_array_mut().unwrap();
        tools.retain(|tool| tool["name"] != "Bash");
        tools.push(json!({"name": "Fly", "input_schema": {}}));
        let read = tools.iter_mut().find(|tool| tool["name"] == "Read").unwrap();
        read["input_schema"]["properties"]["file_path"]["type"] = json!("array");
    });
    insta::assert_snapshot!(sandbox.portable(&ran.exits(1).stdout), @r#"
    - Bash  only in A
    + Fly  only in B
    ~ Read
        input_schema.properties.file_path.type: "string" → "array"
    12 tools in A, 12 in B: 1 only in A, 1 only in B, 1 changed
    "#);
}

#[test]
fn a_trace_without_tools_is_an_error() {
    let sandbox = Sandbox::new();
    let ran = diff(&sandbox, |tools| *tools = json!([]));
    insta::assert_snapshot!(ran.refusal(), @"exit 2: error: 0001.json: no request in it has tools; choose another trace");
}
