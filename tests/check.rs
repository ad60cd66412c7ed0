//! `anyclaude check`: the real client against a server whose answers are written here, and the embedded model's cache.

#[path = "support/clients.rs"]
mod clients;
#[path = "support/launched.rs"]
mod launched;
#[path = "support/scripted.rs"]
mod scripted;

use std::process::Output;

use anyclaude::server::ServerOptions;
use anyclaude::wire::MessagesRequest;
use launched::{Place, stderr, stdout};
use scripted::{Running, Scripted, answer};
use serde_json::{Value, json};

async fn check_tools(server: &Running) -> Output {
    let place = Place::new();
    let program = clients::installed("node_modules/.bin/claude");
    let arguments = ["check", "tools", "--mode", "anthropic", "--base-url", &server.url, "--client", program.to_str().unwrap()];
    let mut command = place.anyclaude(&arguments);
    command.envs(clients::claude_environment(place.home.path()));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a model that knows the tools does, by the task it was given.
fn skilled(request: &MessagesRequest) -> Value {
    let conversation = serde_json::to_string(&request.messages).unwrap();
    let results = conversation.matches("\"type\":\"tool_result\"").count();
    let steps = if conversation.contains("with the Read tool") {
        vec![json!({"tool": "Read", "input": {"file_path": "hello.txt"}})]
    } else if conversation.contains("with the Write tool") {
        vec![json!({"tool": "Write", "input": {"file_path": "new.txt", "content": "anyclaude"}})]
    } else if conversation.contains("with the Edit tool") {
        let edit = json!({"file_path": "colour.txt", "old_string": "red", "new_string": "blue"});
        vec![json!({"tool": "Read", "input": {"file_path": "colour.txt"}}), json!({"tool": "Edit", "input": edit})]
    } else {
        vec![json!({"tool": "Bash", "input": {"command": "echo $((6*7))", "description": "Multiplies"}})]
    };
    steps.get(results).cloned().unwrap_or(json!({"text": "All done."}))
}

/// The lines, without the times.
fn lines(output: &Output) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = |words: Vec<String>| match words.get(3).map(String::as_str) {
        Some("s") => [&words[..2], &words[4..]].concat().join(" "),
        _ => words.join(" "),
    };
    stdout(output).lines().map(|text| line(words(text))).collect()
}

#[tokio::test]
async fn every_tool_passes_with_a_model_that_knows_them() {
    let server = Scripted::new(|request| Ok(answer(&[skilled(request)]))).serve(ServerOptions::default()).await;
    let output = check_tools(&server).await;
    assert_eq!(lines(&output), ["pass Read", "pass Write", "pass Edit", "pass Bash", "4 of 4 tools work"], "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn what_a_model_did_instead_is_told() {
    let idle = |request: &MessagesRequest| match skilled(request) {
        call if call["tool"] == "Edit" || call["tool"] == "Write" => json!({"text": "I would rather not."}),
        call => call,
    };
    let server = Scripted::new(move |request| Ok(answer(&[idle(request)]))).serve(ServerOptions::default()).await;
    let output = check_tools(&server).await;
    let expected = [
        "pass Read",
        "FAIL Write Write was not called; the answer was: I would rather not.",
        "FAIL Edit Edit was not called; called Read",
        "pass Bash",
        "2 of 4 tools work",
    ];
    assert_eq!(lines(&output), expected, "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(feature = "mlx")]
#[test]
fn the_cache_of_a_model_folder_is_measured_in_every_state() {
    let root = env!("CARGO_MANIFEST_DIR");
    let (model, trace) = (format!("{root}/fixtures/models/tiny"), format!("{root}/traces/text-only/0001.json"));
    let output = Place::new().run(&["check", "cache", "--model", &model, &trace]);
    let lines = lines(&output);
    let phases: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(phases, ["phase", "cold", "warm", "cached"], "{lines:?} {}", stderr(&output));
    // The times are this machine's; the shares are not.
    let share = |line: &str| line.split(' ').find_map(|word| word.strip_suffix('%')).unwrap().parse::<f64>().unwrap();
    assert_eq!(share(&lines[1]), 0.0);
    assert!(share(&lines[2]) >= 50.0 && share(&lines[3]) >= 80.0, "{lines:?}");
}
