//! The prefix cache through the built binary: what it reports, what it computes ahead, how it is turned off.

use serde_json::{Value, json};

use crate::support::deadline::until;
use crate::support::http::{get, post};
use crate::support::output::{line_of, uncounted};
use crate::support::serving::Serving;
use crate::support::{MODEL, TRACES};

/// Usage of a short answer to this text, under a system prompt of some hundred tokens.
fn ask(server: &Serving, text: &str) -> Value {
    let body = json!({
        "model": "claude-opus-5-5", "max_tokens": 2, "temperature": 0,
        "system": [{"type": "text", "text": "You are a helper. ".repeat(50), "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": text}]
    });
    post(&format!("{}/v1/messages", server.url), &body).json()["usage"].clone()
}

fn report(server: &Serving) -> Value {
    get(&format!("{}/cache", server.url)).json()
}

#[test]
fn hits_and_what_they_saved_are_told_everywhere() {
    let server = Serving::start(MODEL, &["--cache-bytes", "10MB"]);
    let cold = ask(&server, "Read hello.txt");
    let warm = ask(&server, "Write hello.txt");
    let created = cold["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(created > 100 && cold["input_tokens"].as_u64() > Some(0), "{cold}");
    assert_eq!(cold["cache_creation"]["ephemeral_5m_input_tokens"], created);
    let read = warm["cache_read_input_tokens"].as_u64().unwrap();
    assert!(read >= created && warm["cache_creation_input_tokens"] == 0, "{cold} {warm}");

    let report = report(&server);
    assert_eq!((&report["hits"], &report["misses"], &report["saved_tokens"]), (&json!(1), &json!(1), &json!(read)));
    assert_eq!((report["entries"].as_array().unwrap().len(), &report["max_bytes"]), (2, &json!(10_000_000)));
    assert!(report["bytes"].as_u64() > Some(100_000) && report["memory"]["rss_bytes"].as_u64() > Some(1_000_000), "{report}");
    let own: f64 = report["entries"].as_array().unwrap().iter().map(|entry| entry["own_mb"].as_f64().unwrap()).sum();
    assert!(own < report["bytes"].as_f64().unwrap() / 1e6, "what entries share is no entry's own: {report}");

    let metrics = get(&format!("{}/metrics", server.url)).text;
    assert!(metrics.contains("anyclaude_cache_hits_total 1\n"), "{metrics}");
    assert!(metrics.contains(&format!("anyclaude_cache_saved_tokens_total {read}\n")), "{metrics}");
    let said = server.stop("TERM").stderr;
    insta::assert_snapshot!(uncounted(line_of(&said, "cache: ")), @"cache: 1 of 2 prompts hit, N% of all prompt tokens known, about [time] saved; 2 kept in N MB, 0 evicted");
}

#[test]
fn a_call_that_comes_back_as_the_model_wrote_it_costs_no_hit() {
    let server = Serving::start(MODEL, &[]);
    let schema = json!({"type": "object", "properties": {"z_path": {"type": "string", "enum": ["hello.txt"]},
        "a_limit": {"type": "integer", "enum": [1]}}, "required": ["z_path", "a_limit"]});
    let ask = |messages: &Value| {
        let body = json!({"model": "m", "max_tokens": 90, "temperature": 0, "messages": messages,
            "tools": [{"name": "Read", "input_schema": schema}],
            "tool_choice": {"type": "tool", "name": "Read", "disable_parallel_tool_use": true}});
        post(&format!("{}/v1/messages", server.url), &body).json()
    };
    let messages = json!([{"role": "user", "content": "Read hello.txt. ".repeat(20)}]);
    let first = ask(&messages);
    let keys = |call: &Value| call["input"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let call = first["content"][0].clone();
    assert_eq!(keys(&call), ["z_path", "a_limit"], "{first}");
    let follow_up = |call: Value| {
        let mut next = messages.clone();
        let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": "hi"});
        let turns = [json!({"role": "assistant", "content": [call]}), json!({"role": "user", "content": [result]})];
        next.as_array_mut().unwrap().extend(turns);
        ask(&next)["usage"]["cache_read_input_tokens"].as_u64().unwrap()
    };
    let mut sorted = call.clone();
    sorted["input"].sort_all_objects();
    assert_eq!(keys(&sorted), ["a_limit", "z_path"]);
    let (sorted, same) = (follow_up(sorted), follow_up(call));
    let prompt =
        first["usage"]["input_tokens"].as_u64().unwrap() + first["usage"]["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(sorted >= prompt.saturating_sub(1) && same > sorted + 5, "prompt {prompt}, found {same} as written, {sorted} sorted");
}

#[test]
fn a_named_trace_is_computed_ahead_while_requests_are_answered() {
    let trace = format!("{TRACES}/follow-up/0001.json");
    let server = Serving::start(MODEL, &["--warm", &trace]);
    assert!(ask(&server, "Read hello.txt")["output_tokens"].as_u64() > Some(0));
    let computed = until("the warm-up", || {
        let health = get(&format!("{}/health", server.url)).json();
        if health["status"] == "warming" {
            assert!(health["warming"]["total_tokens"].as_u64() > Some(1000), "{health}");
            return None;
        }
        // The warm-up begins a moment after the server answers.
        report(&server)["computed_tokens"].as_u64().filter(|tokens| *tokens > 1000).map(|_| health)
    });
    assert_eq!(computed["status"], "ok");
    let trace: Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    let mut body = trace["request"]["body"].clone();
    body["max_tokens"] = json!(1);
    body["stream"] = json!(false);
    body.as_object_mut().unwrap().remove("thinking");
    let usage = post(&format!("{}/v1/messages", server.url), &body).json()["usage"].clone();
    assert!(usage["cache_read_input_tokens"].as_u64() > Some(1000), "{usage}");
}

#[test]
fn turned_off_it_keeps_nothing() {
    let server = Serving::start(MODEL, &["--cache", "0"]);
    for _ in 0..2 {
        assert_eq!(ask(&server, "Read hello.txt")["cache_read_input_tokens"], 0);
    }
    let report = report(&server);
    assert_eq!((&report["bytes"], &report["hits"], &report["misses"]), (&json!(0), &json!(0), &json!(2)));
    insta::assert_snapshot!(line_of(&server.stop("TERM").stderr, "cache: "), @"cache: turned off");
}
