//! The prefix cache through the built binary: what it reports, what it computes ahead, how it is turned off.

#![cfg(feature = "mlx")]

#[path = "support/binary.rs"]
mod binary;

use serde_json::{Value, json};

use binary::Serving;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");
const TRACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/follow-up/0001.json");

async fn get(server: &Serving, path: &str) -> reqwest::Response {
    reqwest::get(format!("{}{path}", server.url)).await.unwrap()
}

/// Usage of a short answer to this text, under a system prompt of some hundred tokens.
async fn ask(server: &Serving, text: &str) -> Value {
    let body = json!({
        "model": "claude-opus-5-5", "max_tokens": 2, "temperature": 0,
        "system": [{"type": "text", "text": "You are a helper. ".repeat(50), "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": text}]
    });
    let response = reqwest::Client::new().post(format!("{}/v1/messages", server.url)).json(&body).send().await.unwrap();
    response.json::<Value>().await.unwrap()["usage"].clone()
}

async fn stop(server: Serving) -> String {
    tokio::task::spawn_blocking(move || server.stop("TERM").1).await.unwrap()
}

#[tokio::test]
async fn hits_and_what_they_saved_are_told_everywhere() {
    let server = Serving::start(MODEL, &["--cache-bytes", "10MB"]);
    let cold = ask(&server, "Read hello.txt").await;
    let warm = ask(&server, "Write hello.txt").await;
    let created = cold["cache_creation_input_tokens"].as_u64().unwrap();
    assert!(created > 100 && cold["input_tokens"].as_u64() > Some(0), "{cold}");
    assert_eq!(cold["cache_creation"]["ephemeral_5m_input_tokens"], created);
    let read = warm["cache_read_input_tokens"].as_u64().unwrap();
    assert!(read >= created && warm["cache_creation_input_tokens"] == 0, "{cold} {warm}");

    let report: Value = get(&server, "/cache").await.json().await.unwrap();
    assert_eq!((&report["hits"], &report["misses"], &report["saved_tokens"]), (&json!(1), &json!(1), &json!(read)));
    assert_eq!((report["entries"].as_array().unwrap().len(), &report["max_bytes"]), (2, &json!(10_000_000)));
    assert!(report["bytes"].as_u64() > Some(100_000) && report["memory"]["rss_bytes"].as_u64() > Some(1_000_000), "{report}");
    let own: f64 = report["entries"].as_array().unwrap().iter().map(|entry| entry["own_mb"].as_f64().unwrap()).sum();
    assert!(own < report["bytes"].as_f64().unwrap() / 1e6, "what entries share is no entry's own: {report}");

    let metrics = get(&server, "/metrics").await.text().await.unwrap();
    assert!(metrics.contains("anyclaude_cache_hits_total 1\n"), "{metrics}");
    assert!(metrics.contains(&format!("anyclaude_cache_saved_tokens_total {read}\n")), "{metrics}");
    let said = stop(server).await;
    assert!(said.contains("cache: 1 of 2 prompts hit, "), "{said}");
}

#[tokio::test]
async fn a_named_trace_is_computed_ahead_while_requests_are_answered() {
    let server = Serving::start(MODEL, &["--warm", TRACE]);
    assert!(ask(&server, "Read hello.txt").await["output_tokens"].as_u64() > Some(0));
    loop {
        let health: Value = get(&server, "/health").await.json().await.unwrap();
        match health["status"].as_str().unwrap() {
            "warming" => assert!(health["warming"]["total_tokens"].as_u64() > Some(1000), "{health}"),
            status => {
                // The warm-up begins a moment after the server answers.
                let report: Value = get(&server, "/cache").await.json().await.unwrap();
                if report["computed_tokens"].as_u64() > Some(1000) {
                    assert_eq!(status, "ok");
                    break;
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let trace: Value = serde_json::from_slice(&std::fs::read(TRACE).unwrap()).unwrap();
    let mut body = trace["request"]["body"].clone();
    body["max_tokens"] = json!(1);
    body["stream"] = json!(false);
    body.as_object_mut().unwrap().remove("thinking");
    let response = reqwest::Client::new().post(format!("{}/v1/messages", server.url)).json(&body).send().await.unwrap();
    let usage = response.json::<Value>().await.unwrap()["usage"].clone();
    assert!(usage["cache_read_input_tokens"].as_u64() > Some(1000), "{usage}");
}

#[tokio::test]
async fn turned_off_it_keeps_nothing() {
    let server = Serving::start(MODEL, &["--cache", "0"]);
    for _ in 0..2 {
        assert_eq!(ask(&server, "Read hello.txt").await["cache_read_input_tokens"], 0);
    }
    let report: Value = get(&server, "/cache").await.json().await.unwrap();
    assert_eq!((&report["bytes"], &report["hits"], &report["misses"]), (&json!(0), &json!(0), &json!(2)));
    assert!(stop(server).await.contains("cache: turned off\n"));
}
