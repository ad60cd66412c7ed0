//! The SDKs and the real Claude Code client against the server, with a scripted backend behind it.

#[path = "support/clients.rs"]
mod clients;
#[path = "support/scripted.rs"]
mod scripted;

use anyclaude::server::ServerOptions;
use anyclaude::wire::{Content, ContentBlock, MessagesRequest};
use serde_json::{Value, json};

use scripted::{Running, Scripted, answer};

/// The results of the tools called so far, in order.
fn tool_results(request: &MessagesRequest) -> Vec<&ContentBlock> {
    let blocks = request.messages.iter().filter_map(|message| match &message.content {
        Content::Blocks(blocks) => Some(blocks),
        Content::Text(_) => None,
    });
    blocks.flatten().filter(|block| matches!(block, ContentBlock::ToolResult { .. })).collect()
}

/// A server that calls these tools one after the other, then says goodbye.
async fn calling(calls: Vec<Value>) -> Running {
    Scripted::new(move |request| {
        let next = calls.get(tool_results(request).len()).cloned();
        Ok(answer(&[next.unwrap_or(json!({"text": "All done."}))]))
    })
    .serve(ServerOptions::default())
    .await
}

async fn sdk_server() -> Running {
    let blocks = [json!({"text": "Let me look."}), json!({"tool": "Read", "input": {"file_path": "hello.txt"}})];
    Scripted::new(move |_| Ok(answer(&blocks))).serve(ServerOptions::default()).await
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
    assert!(report["error"]["message"].as_str().unwrap().starts_with("messages.0.content.0.type: unknown variant `hologram`"));
}

#[tokio::test]
async fn the_python_sdk_is_served() {
    check_sdk(&clients::python_sdk(&sdk_server().await.url).await);
}

#[tokio::test]
async fn the_typescript_sdk_is_served() {
    check_sdk(&clients::typescript_sdk(&sdk_server().await.url).await);
}

#[tokio::test]
async fn claude_code_reads_writes_and_runs_what_the_answers_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("hello.txt"), "The password is swordfish.\n").unwrap();
    let server = calling(vec![
        json!({"tool": "Read", "input": {"file_path": path("hello.txt")}}),
        json!({"tool": "Write", "input": {"file_path": path("new.txt"), "content": "written by a tool call\n"}}),
        json!({"tool": "Bash", "input": {"command": "echo 6*7=$((6*7))", "description": "Multiplies"}}),
        json!({"tool": "Read", "input": {"file_path": path("absent.txt")}}),
    ])
    .await;
    let arguments = ["-p", "Read hello.txt", "--allowedTools", "Read,Write,Edit,Bash", "--permission-mode", "acceptEdits"];
    let output = clients::claude(&server.url, folder.path(), &arguments).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "All done.", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_to_string(path("new.txt")).unwrap(), "written by a tool call\n");

    let requests = server.backend.requests.lock().unwrap();
    let results: Vec<String> = tool_results(requests.last().unwrap()).iter().map(|b| serde_json::to_string(b).unwrap()).collect();
    assert_eq!(results.len(), 4, "{results:?}");
    for (result, expected) in results.iter().zip(["swordfish", "new.txt", "6*7=42", "\"is_error\":true"]) {
        assert!(result.contains(expected), "{result}");
    }
}

#[tokio::test]
async fn claude_code_loads_a_tool_by_reference() {
    let folder = tempfile::tempdir().unwrap();
    let search = json!({"tool": "ToolSearch", "input": {"query": "select:TaskStop", "max_results": 5}});
    let server = calling(vec![search]).await;
    let output = clients::claude(&server.url, folder.path(), &["-p", "Find a tool"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "All done.", "{}", String::from_utf8_lossy(&output.stderr));
    let requests = server.backend.requests.lock().unwrap();
    let last = requests.last().unwrap();
    let ContentBlock::ToolResult { content: Some(Content::Blocks(found)), .. } = tool_results(last)[0] else {
        panic!("{last:?}");
    };
    assert!(matches!(&found[..], [ContentBlock::ToolReference { tool_name, .. }] if tool_name == "TaskStop"), "{found:?}");
    assert!(last.tools.iter().any(|tool| tool.name == "TaskStop"));
}
