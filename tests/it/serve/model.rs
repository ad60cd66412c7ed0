//! `anyclaude serve` on the embedded model: the built binary, real sockets, real clients.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::clients::{run_claude, sdk};
use crate::support::deadline::within;
use crate::support::http::{get, post};
use crate::support::output::uncounted;
use crate::support::process::Running;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

#[test]
fn what_cannot_be_served_is_one_line_with_the_way_out() {
    let sandbox = Sandbox::new();
    sandbox.write("model/config.json", "{}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refusals = [&["--model", "absent"][..], &["--model", "model"], &["--model", MODEL, "--port", &port]];
    let refused = |arguments: &[&str]| sandbox.run(&[&["serve"], arguments].concat()).refusal();
    insta::assert_snapshot!(sandbox.portable(&refusals.map(refused).concat()), @"
    exit 2: error: absent: no such folder, and no model's name: those are OWNER/NAME, and tiny for the one in this program
    exit 2: error: model/tokenizer.json is missing: the model folder is incomplete, get it again
    exit 3: error: 127.0.0.1:[port] is in use: stop what listens there, or choose another port with --port (0: any free one)
    ");
}

#[test]
fn both_stop_signals_end_it_in_good_order_with_a_summary() {
    for signal in ["INT", "TERM"] {
        let ran = Serving::start(MODEL, &[]).stop(signal).exits(0);
        assert!(ran.stderr.ends_with("\nserved 0 requests, 0 prompt tokens (0% from the cache), 0 output tokens\n"), "{ran:?}");
    }
}

#[test]
fn what_is_not_honoured_is_said_once() {
    let server = Serving::start(MODEL, &[]);
    let messages = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Hi", "colour": "red"}, {"type": "image", "source": {"type": "url", "url": "http://a/b.png"}}]}],
        "speed": "fast", "metadata": {"user_id": "u"}, "tools": [{"name": "a", "input_schema": {"type": "object"}, "shade": 1}]});
    let chat = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}], "verbosity": "low",
        "user": "u", "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": {}}},
        "tools": [{"type": "function", "strict": true, "function": {"name": "a"}}]});
    for _ in 0..2 {
        post(&format!("{}/v1/messages", server.url), &messages).succeeds();
        post(&format!("{}/v1/messages/count_tokens", server.url), &messages).succeeds();
        post(&format!("{}/v1/chat/completions", server.url), &chat).succeeds();
    }
    let said = server.stop("TERM").stderr;
    let warnings: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once(" WARN ")?.1)).collect();
    insta::assert_snapshot!(warnings.join("\n"), @"
    left out of requests, as this model has no use for them: speed, text.colour, tools.shade
    described to this model or left out, as it sees text only and Anthropic's servers run no tools for it: image
    left out of requests, as nothing here reads them: response_format.json_schema.description, tools.strict, verbosity
    ");
}

#[test]
fn a_server_whose_words_nobody_reads_any_more_still_stops_in_good_order() {
    let (reader, writer) = std::io::pipe().unwrap();
    let sandbox = Sandbox::new();
    let mut command = sandbox.anyclaude(&["serve", "--model", MODEL, "--port", "0"]);
    let mut server = Running::start_unheard(command.stdout(Stdio::piped()).stderr(writer));
    drop(command);
    let found = within("the server's address", move || {
        BufReader::new(reader).lines().any(|line| line.unwrap().starts_with("point Claude Code at it"))
    });
    assert!(found);
    server.signal("TERM");
    server.end().exits(0);
}

#[cfg(target_env = "gnu")]
#[test]
fn serve_has_glibc_give_back_what_is_freed() {
    let server = Serving::start(MODEL, &[]);
    let variables = std::fs::read(format!("/proc/{}/environ", server.id())).unwrap();
    assert!(variables.split(|byte| *byte == 0).any(|variable| variable == b"MALLOC_MMAP_THRESHOLD_=262144"));
}

/// On macOS weights stay as they are, and there is nothing to say.
#[cfg(not(target_os = "macos"))]
#[test]
fn serve_says_how_much_memory_the_weights_take() {
    let sandbox = Sandbox::new();
    let said = sandbox.portable(&Serving::start(MODEL, &[]).stop("TERM").stderr);
    insta::assert_snapshot!(said, @"
    loading [repository]/fixtures/models/tiny
    weights take 10.50 MB in memory, 5.25 MB on disk
    loaded in [time]
    listening on http://127.0.0.1:[port]
    point Claude Code at it with: ANTHROPIC_BASE_URL=http://127.0.0.1:[port] ANTHROPIC_API_KEY=local claude
    for its context of 65,536 tokens set also: CLAUDE_CODE_MAX_OUTPUT_TOKENS=13107 CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000 CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=60.3
    stopping: answers in flight get a few seconds; once more to stop at once
    cache: 0 of 0 prompts hit, 0% of all prompt tokens known, about [time] saved; 0 kept in 0.0 MB, 0 evicted
    served 0 requests, 0 prompt tokens (0% from the cache), 0 output tokens
    ");
}

#[test]
fn a_repeated_request_is_answered_the_same_and_from_the_cache() {
    let server = Serving::start(MODEL, &[]);
    let url = format!("{}/v1/messages", server.url);
    let body = json!({
        "model": "claude-opus-5-5", "max_tokens": 20, "temperature": 0,
        "system": [{"type": "text", "text": "You are a helper. ".repeat(50)}],
        "messages": [{"role": "user", "content": "Read hello.txt"}]
    });
    let mut answers: Vec<Value> = Vec::new();
    for _ in 0..2 {
        answers.push(post(&url, &body).json());
    }
    assert_eq!((&answers[0]["type"], &answers[0]["content"]), (&json!("message"), &answers[1]["content"]));
    assert!(answers[1]["usage"]["cache_read_input_tokens"].as_u64() > Some(100), "{answers:?}");
    let said = server.stop("TERM").stderr;
    insta::assert_snapshot!(uncounted(said.lines().last().unwrap()), @"served 2 requests, N prompt tokens (N% from the cache), N output tokens");
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

#[test]
fn the_sdks_are_served() {
    let server = Serving::start(MODEL, &[]);
    check_sdk(&sdk("messages.py", &server.url));
    check_sdk(&sdk("messages.cjs", &server.url));
}

#[test]
fn claude_code_reads_a_file() {
    let server = Serving::start(MODEL, &[]);
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "Hello from the file\n");
    let arguments = ["-p", "Read hello.txt and tell me what it says", "--allowedTools", "Read", "--output-format", "json"];
    let ran = run_claude(&sandbox, &server.url, &arguments);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    // A turn with the call, and one with the answer.
    assert_eq!((&result["type"], &result["num_turns"]), (&json!("result"), &json!(2)), "{result}");
    assert!(result["result"].as_str().is_some_and(|text| text.contains("Hello from the file")), "{result}");
    let metrics = get(&format!("{}/metrics", server.url)).text;
    assert!(metrics.contains("anyclaude_requests_total{path=\"/v1/messages\",status=\"200\"}"), "{metrics}");
    assert!(!metrics.contains("status=\"4") && !metrics.contains("status=\"5"), "{metrics}");
}
