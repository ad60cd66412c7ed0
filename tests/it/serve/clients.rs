//! The SDKs and the real Claude Code client against the server, with a scripted backend behind it.

use anyclaude::wire::{Content, ContentBlock};
use serde_json::{Value, json};

use crate::support::clients::{run_claude, sdk};
use crate::support::sandbox::Sandbox;
use crate::support::scripted::{Scripted, Served, answer, calling, tool_results};

fn sdk_server() -> Served {
    let blocks = [json!({"text": "Let me look."}), json!({"tool": "Read", "input": {"file_path": "hello.txt"}})];
    Scripted::new(move |_| Ok(answer(&blocks))).serve()
}

/// What every SDK must have seen.
fn check_sdk(report: &Value) {
    let message = json!({
        "blocks": [{"type": "text", "text": "Let me look."}, {"type": "tool_use", "name": "Read", "input": {"file_path": "hello.txt"}}],
        "stop_reason": "tool_use", "prompt": 42, "output": 7,
    });
    assert_eq!(report["streamed"], message);
    assert_eq!(report["whole"], message);
    assert_eq!((&report["first_event"], &report["last_event"]), (&json!("message_start"), &json!("message_stop")));
    assert_eq!((&report["counted"], &report["models"]), (&json!(10), &json!(["scripted"])));
    assert_eq!(report["error"]["type"], "invalid_request_error");
    assert_eq!(report["error"]["message"], "messages.0.content.0.text.text: Field required");
}

#[test]
fn the_python_sdk_is_served() {
    check_sdk(&sdk("messages.py", &sdk_server().url));
}

#[test]
fn the_typescript_sdk_is_served() {
    check_sdk(&sdk("messages.cjs", &sdk_server().url));
}

#[test]
fn claude_code_reads_writes_and_runs_what_the_answers_ask_for() {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path(name);
    sandbox.write("hello.txt", "The password is swordfish.\n");
    let server = calling(vec![
        json!({"tool": "Read", "input": {"file_path": path("hello.txt")}}),
        json!({"tool": "Write", "input": {"file_path": path("new.txt"), "content": "written by a tool call\n"}}),
        json!({"tool": "Bash", "input": {"command": "echo 6*7=$((6*7))", "description": "Multiplies"}}),
        json!({"tool": "Read", "input": {"file_path": path("absent.txt")}}),
    ]);
    let arguments = ["-p", "Read hello.txt", "--allowedTools", "Read,Write,Edit,Bash", "--permission-mode", "acceptEdits"];
    let ran = run_claude(&sandbox, &server.url, &arguments);
    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    assert_eq!(sandbox.read("new.txt"), "written by a tool call\n");

    let requests = server.backend.requests.all();
    let results: Vec<String> = tool_results(requests.last().unwrap()).iter().map(|b| serde_json::to_string(b).unwrap()).collect();
    assert_eq!(results.len(), 4, "{results:?}");
    for (result, expected) in results.iter().zip(["swordfish", "new.txt", "6*7=42", "\"is_error\":true"]) {
        assert!(result.contains(expected), "{result}");
    }
}

#[test]
fn claude_code_loads_a_tool_by_reference() {
    let search = json!({"tool": "ToolSearch", "input": {"query": "select:TaskStop", "max_results": 5}});
    let server = calling(vec![search]);
    let ran = run_claude(&Sandbox::new(), &server.url, &["-p", "Find a tool"]);
    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    let requests = server.backend.requests.all();
    let last = requests.last().unwrap();
    let ContentBlock::ToolResult { content: Some(Content::Blocks(found)), .. } = tool_results(last)[0] else {
        panic!("{last:?}");
    };
    assert!(matches!(&found[..], [ContentBlock::ToolReference { tool_name, .. }] if tool_name == "TaskStop"), "{found:?}");
    assert!(last.tools.iter().any(|tool| tool.name == "TaskStop"));
}
