//! `anyclaude serve` on the embedded model: the built binary, real sockets, real clients.

#![cfg(feature = "mlx")]

#[path = "support/binary.rs"]
mod binary;
#[path = "support/clients.rs"]
mod clients;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use binary::Serving;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");

fn serve(arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("anyclaude")).arg("serve").args(arguments).output().unwrap()
}

/// The exit code and the one line on stderr, colours left out.
fn refusal(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = console::strip_ansi_codes(text.trim_end()).into_owned();
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code(), line)
}

#[test]
fn a_missing_model_folder_is_one_line_and_exit_2() {
    let (code, line) = refusal(&serve(&["--model", "/nowhere/at/all"]));
    assert_eq!(code, Some(2));
    assert_eq!(line, "error: /nowhere/at/all: no such folder: a model folder in Hugging Face layout is needed");
}

#[test]
fn a_model_folder_without_a_file_is_one_line_and_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let (code, line) = refusal(&serve(&["--model", folder.path().to_str().unwrap()]));
    assert_eq!(code, Some(2));
    let missing = folder.path().join("tokenizer.json");
    assert_eq!(line, format!("error: {} is missing: the model folder is incomplete, get it again", missing.display()));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, line) = refusal(&serve(&["--model", MODEL, "--port", &port]));
    assert_eq!(code, Some(3));
    assert!(line.starts_with(&format!("error: 127.0.0.1:{port} is in use: ")) && line.contains("--port"), "{line}");
}

#[test]
fn both_stop_signals_end_it_in_good_order_with_a_summary() {
    for signal in ["INT", "TERM"] {
        let (status, said) = Serving::start(MODEL, &[]).stop(signal);
        assert!(status.success(), "{status}: {said}");
        let last = said.lines().last().unwrap();
        assert_eq!(last, "served 0 requests, 0 prompt tokens (0% from the cache), 0 output tokens");
    }
}

#[test]
fn a_server_whose_words_nobody_reads_any_more_still_stops_in_good_order() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
    let mut child = command.args(["serve", "--model", MODEL, "--port", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("point Claude Code at it")));
    drop(said);
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[cfg(target_env = "gnu")]
#[test]
fn serve_has_glibc_give_back_what_is_freed() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
    command.args(["serve", "--model", MODEL, "--port", "0"]).env_remove("MALLOC_MMAP_THRESHOLD_");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("listening")));
    let variables = std::fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(variables.split(|byte| *byte == 0).any(|variable| variable == b"MALLOC_MMAP_THRESHOLD_=262144"));
}

/// On macOS weights stay as they are, and there is nothing to say.
#[cfg(not(target_os = "macos"))]
#[test]
fn serve_says_how_much_memory_the_weights_take() {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
    let mut child = command.args(["serve", "--model", MODEL, "--port", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = said.take_while(|line| !line.starts_with("listening")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said[1], "weights are computed in f32 here: 10.50 MB in memory, 5.25 MB on disk");
}

#[tokio::test]
async fn a_repeated_request_is_answered_the_same_and_from_the_cache() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/messages", server.url);
    let body = json!({
        "model": "claude-opus-5-5", "max_tokens": 20, "temperature": 0,
        "system": [{"type": "text", "text": "You are a helper. ".repeat(50)}],
        "messages": [{"role": "user", "content": "Read hello.txt"}]
    });
    let mut answers: Vec<Value> = Vec::new();
    for _ in 0..2 {
        answers.push(reqwest::Client::new().post(&url).json(&body).send().await.unwrap().json().await.unwrap());
    }
    assert_eq!((&answers[0]["type"], &answers[0]["content"]), (&json!("message"), &answers[1]["content"]));
    assert!(answers[1]["usage"]["cache_read_input_tokens"].as_u64() > Some(100), "{answers:?}");
    let said = tokio::task::spawn_blocking(move || server.stop("TERM").1).await.unwrap();
    assert!(said.lines().last().unwrap().starts_with("served 2 requests, "), "{said}");
}

/// The model's weights may say anything; the form of the answer and the sums must hold.
fn check_sdk(report: &Value) {
    assert_eq!((&report["first_event"], &report["last_event"]), (&json!("message_start"), &json!("message_stop")));
    for answer in ["streamed", "whole"] {
        let answer = &report[answer];
        assert!(answer["stop_reason"].is_string() && answer["output"].as_u64() > Some(0), "{report}");
        assert_eq!(answer["prompt"], report["counted"], "the parts of usage add up to the prompt: {report}");
    }
    assert_eq!(report["models"], json!(["tiny"]));
    assert_eq!(report["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn the_sdks_are_served() {
    let server = Serving::start(MODEL, &[]);
    check_sdk(&clients::python_sdk(&server.url).await);
    check_sdk(&clients::typescript_sdk(&server.url).await);
}

#[tokio::test]
async fn claude_code_reads_a_file() {
    let server = Serving::start(MODEL, &[]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.txt"), "Hello from the file\n").unwrap();
    let arguments = ["-p", "Read hello.txt and tell me what it says", "--allowedTools", "Read", "--output-format", "json"];
    let output = clients::claude(&server.url, folder.path(), &arguments).await;
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    // A turn with the call, and one with the answer.
    assert_eq!((&result["type"], &result["num_turns"]), (&json!("result"), &json!(2)), "{result}");
    assert!(result["result"].as_str().is_some_and(|text| text.contains("Hello from the file")), "{result}");
    let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("anyclaude_requests_total{path=\"/v1/messages\",status=\"200\"}"), "{metrics}");
    assert!(!metrics.contains("status=\"4") && !metrics.contains("status=\"5"), "{metrics}");
}

/// A forced call of Bash whose command the request spells out.
fn forced_command(max_tokens: u64, stream: bool) -> Value {
    json!({
        "model": "claude-opus-5-5", "max_tokens": max_tokens, "temperature": 0, "stream": stream,
        "tools": [{"name": "Bash", "description": "Runs a command.", "input_schema": {"type": "object", "properties": {
            "command": {"type": "string"}, "description": {"type": "string"}}, "required": ["command", "description"]}}],
        "tool_choice": {"type": "tool", "name": "Bash"},
        "messages": [{"role": "user", "content": "Run `rm -rf /home/user/project/build/cache` and tell me what it prints"}]
    })
}

#[tokio::test]
async fn a_command_that_max_tokens_cuts_is_not_made_whole() {
    let server = Serving::start(MODEL, &[]);
    let client = reqwest::Client::new();
    let post = async |path: &str, body: Value| client.post(format!("{}{path}", server.url)).json(&body).send().await.unwrap();
    for max_tokens in [1, 12, 20, 24, 28] {
        let events = post("/v1/messages", forced_command(max_tokens, true)).await.text().await.unwrap();
        let events: Vec<Value> = events
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        let said: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
        assert!(serde_json::from_str::<Value>(&said).is_err(), "{max_tokens}: {said} is whole");
        let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(max_tokens)));
        assert_eq!(max_tokens > 12, said.contains("rm -rf"), "{max_tokens}: {said}");

        let whole: Value = post("/v1/messages", forced_command(max_tokens, false)).await.json().await.unwrap();
        assert_eq!((&whole["stop_reason"], &whole["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(max_tokens)));
        let inputs: Vec<&Value> = whole["content"].as_array().unwrap().iter().map(|block| &block["input"]).collect();
        assert_eq!(inputs, vec![&json!({}); usize::from(!said.is_empty())], "half a command is no argument");

        let mut chat = forced_command(max_tokens, false);
        let schema = chat["tools"][0]["input_schema"].take();
        chat["tools"] =
            json!([{"type": "function", "function": {"name": "Bash", "description": "Runs a command.", "parameters": schema}}]);
        chat["tool_choice"] = json!({"type": "function", "function": {"name": "Bash"}});
        let chat: Value = post("/v1/chat/completions", chat).await.json().await.unwrap();
        let choice = &chat["choices"][0];
        assert_eq!(choice["finish_reason"], "length", "{chat}");
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default(), said);
    }
}

#[tokio::test]
async fn claude_code_runs_nothing_of_a_command_that_was_cut() {
    let server = Serving::start(MODEL, &[]);
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["-p", "Run `mkdir -p first/second/third/fourth/fifth/sixth`", "--allowedTools", "Bash", "--output-format", "json"];
    let output = clients::claude_with(&server.url, folder.path(), &arguments, &[("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "30")]).await;
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "part of the command was run: {result}");
    assert_eq!(result["is_error"], true, "{result}");
}
