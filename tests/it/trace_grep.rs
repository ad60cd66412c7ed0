//! `anyclaude trace grep`: which exchanges have a text.

use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, repository};

/// A project whose traces are those of the flow file in fixtures/imports.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["trace", "import", repository("fixtures/imports/flows.mitm").to_str().unwrap()]).exits(0);
    sandbox
}

#[test]
fn what_is_found_is_named_by_file_and_place() {
    let sandbox = project();
    insta::assert_snapshot!(sandbox.run(&["trace", "grep", "READ é|^file_path", "-i"]).exits(0).stdout, @"
    traces/demo/0001.json: request.body.tools[0].input_schema.properties file_path:
    traces/demo/0001.json: request.body.messages[0].content Read é.txt with [redacted]
    traces/demo/0001.json: response.body.content[0].input file_path:
    traces/demo/0002.json: request.body.tools[0].input_schema.properties file_path:
    traces/demo/0002.json: response.body.content[0].input file_path:
    traces/demo-agent-a1/0001.json: request.body.tools[0].input_schema.properties file_path:
    traces/demo-agent-a1/0001.json: response.body.content[0].input file_path:
    ");
    let found = sandbox.run(&["trace", "grep", "--json", "^Again$", "traces"]).exits(0).stdout;
    assert_eq!(
        serde_json::from_str::<Value>(&found).unwrap(),
        json!([{"file": "traces/demo/0002.json", "session": "demo", "seq": 2, "place": "request.body.messages[0].content", "line": "Again"}])
    );
}

#[test]
fn nothing_found_is_exit_code_1_and_a_bad_pattern_2() {
    let sandbox = project();
    assert_eq!(sandbox.run(&["trace", "grep", "swordfish"]).exits(1).stdout, "");
    assert_eq!(sandbox.run(&["trace", "grep", "--json", "swordfish"]).exits(1).stdout, "[]\n");
    let said = sandbox.run(&["trace", "grep", "("]).exits(2).stderr;
    assert!(said.starts_with("error: the pattern is no regular expression: "), "{said}");
}
