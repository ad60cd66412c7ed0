//! Traces as replay and review find them: short, made up, and easy to vary.

use serde_json::{Value, json};

use super::sandbox::Sandbox;

/// Session `demo`: 001 calls Read, 002 answers with text and has no tools, 003 counts tokens.
pub(crate) fn session() -> Sandbox {
    let sandbox = Sandbox::new();
    let text_only = [
        ("/request/body/tools", json!([])),
        ("/request/body/messages/0/content", json!("Say hello")),
        ("/response/body/content", json!([{"type": "text", "text": "Hello."}])),
        ("/response/body/stop_reason", json!("end_turn")),
    ];
    write_trace(&sandbox, 1, &[]);
    write_trace(&sandbox, 2, &text_only);
    write_trace(&sandbox, 3, &[("/request/path", json!("/v1/messages/count_tokens"))]);
    sandbox
}

/// Writes a trace of an answered request that read hello.txt, with some of its fields replaced.
pub(crate) fn write_trace(sandbox: &Sandbox, seq: u32, overrides: &[(&str, Value)]) {
    let mut trace = json!({
        "version": 1, "id": format!("trace-{seq}"), "session": "demo", "seq": seq, "recorded_at": "2026-01-01T00:00:00Z",
        "client": "claude-cli", "mode": "anthropic",
        "request": {
            "method": "POST", "path": "/v1/messages?beta=true", "headers": {"x-api-key": "[redacted]"},
            "body": {
                "model": "claude-opus", "max_tokens": 64000, "stream": true, "thinking": {"type": "adaptive"},
                "system": [{"type": "text", "text": "You are a careful assistant. ".repeat(40)}],
                "tools": [
                    {"name": "Bash", "input_schema": {"type": "object"}},
                    {"name": "Read", "input_schema": {"type": "object"}},
                ],
                "messages": [{"role": "user", "content": "Please read hello.txt"}],
            },
        },
        "response": {
            "status": 200, "headers": {}, "events": [],
            "body": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus", "stop_reason": "tool_use",
                "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 9},
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "hello.txt"}}],
            },
        },
        "timing": {"ttft_us": 1000, "e2e_us": 2000, "itl_us": null},
        "outcome": "complete",
    });
    for (pointer, value) in overrides {
        *trace.pointer_mut(pointer).unwrap() = value.clone();
    }
    sandbox.write(&format!("traces/demo/{seq:03}.json"), serde_json::to_string_pretty(&trace).unwrap());
}
