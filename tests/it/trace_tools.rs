//! `anyclaude trace stats --tools`: calls, and those that failed.

use serde_json::{Value, json};

use crate::support::sandbox::{Sandbox, repository};

fn counted(sandbox: &Sandbox, folder: &str) -> Value {
    let ran = sandbox.run(&["trace", "stats", "--tools", "--json", folder]).exits(0);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["tools"].take()
}

fn row(tool: &str, model: &str, calls: u32, errors: u32, unanswered: u32) -> Value {
    json!({"tool": tool, "model": model, "calls": calls, "errors": errors, "unanswered": unanswered})
}

#[test]
fn the_calls_of_the_committed_traces_are_counted() {
    let (sandbox, committed) = (Sandbox::new(), repository("traces"));
    let committed = committed.to_str().unwrap();
    let expected = [("Bash", 1, 0), ("Edit", 2, 0), ("Read", 5, 1), ("Write", 1, 0)];
    let expected = expected.map(|(tool, calls, errors)| row(tool, "scripted", calls, errors, 0));
    assert_eq!(counted(&sandbox, committed), json!(expected));
    let ran = sandbox.run(&["trace", "stats", "--tools", committed]).exits(0);
    assert!(ran.stdout.ends_with("\n9 calls: 9 results, 1 error (11.1%)\n"), "{}", ran.stdout);
}

/// A call whose answer broke off, one that nobody answered, and one of another model.
#[test]
fn a_call_counts_if_its_answer_came_whole() {
    let sandbox = Sandbox::new();
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "Read", "input": {}});
    let trace = |seq: u32, model: &str, outcome: &str, messages: Value, call: Value| {
        let trace = json!({
            "version": 1, "id": "x", "session": "a", "seq": seq, "recorded_at": "2026-01-01T00:00:00Z", "client": "c",
            "mode": "anthropic", "outcome": outcome, "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null},
            "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": {
                "model": "m", "max_tokens": 9, "messages": messages,
            }},
            "response": {"status": 200, "headers": {}, "events": [], "body": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_reason": "tool_use",
                "stop_sequence": null, "content": [call], "usage": {"input_tokens": 9, "output_tokens": 7},
            }},
        });
        sandbox.write(&format!("traces/a/{seq:04}.json"), trace.to_string());
    };
    let asked = json!({"role": "user", "content": "Read"});
    let result = json!([{"type": "tool_result", "tool_use_id": "1", "is_error": true, "content": "no"}]);
    let went_on = json!([asked, {"role": "assistant", "content": [call("1")]}, {"role": "user", "content": result}]);
    trace(1, "small", "complete", json!([asked]), call("1"));
    trace(2, "small", "truncated", went_on.clone(), call("2"));
    trace(3, "large", "complete", went_on, call("3"));
    assert_eq!(counted(&sandbox, "traces"), json!([row("Read", "large", 1, 0, 1), row("Read", "small", 1, 1, 0)]));
}
