//! The real Claude Code client, launched by the built binary.

#[path = "support/clients.rs"]
mod clients;
#[path = "support/launched.rs"]
mod launched;
#[path = "support/scripted.rs"]
mod scripted;

use std::path::PathBuf;
use std::process::Output;

use anyclaude::server::ServerOptions;
use anyclaude::trace::{self, Trace};
use anyclaude::wire::{Content, ContentBlock, MessagesRequest};
use launched::{Place, stderr, stdout};
use scripted::{Running, Scripted, answer};
use serde_json::{Value, json};

/// Runs the launcher with the real client; the test's server goes on meanwhile.
async fn launch(place: &Place, flags: &[&str], client: &[&str]) -> Output {
    let program = clients::installed("node_modules/.bin/claude");
    let arguments = [flags, &["--client", program.to_str().unwrap(), "--"], client].concat();
    let mut command = place.anyclaude(&arguments);
    command.envs(clients::claude_environment(place.home.path())).env_remove("ANTHROPIC_API_KEY");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The Messages traces in the home folder's place for a mode.
fn traces(place: &Place, mode: &str) -> Vec<Trace> {
    let files = trace::find(&[place.home.path().join(".anyclaude/traces").join(mode)]).unwrap();
    let traces = files.iter().map(|file: &PathBuf| trace::read(file).unwrap());
    traces.filter(|trace| trace.request.path.starts_with("/v1/messages?")).collect()
}

/// How many tools have answered so far.
fn results(request: &MessagesRequest) -> usize {
    let blocks = request.messages.iter().filter_map(|message| match &message.content {
        Content::Blocks(blocks) => Some(blocks),
        Content::Text(_) => None,
    });
    blocks.flatten().filter(|block| matches!(block, ContentBlock::ToolResult { .. })).count()
}

/// A server that calls these tools one after the other, then says goodbye.
async fn calling(calls: Vec<Value>) -> Running {
    let next = move |request: &MessagesRequest| calls.get(results(request)).cloned().unwrap_or(json!({"text": "All done."}));
    Scripted::new(move |request| Ok(answer(&[next(request)]))).serve(ServerOptions::default()).await
}

#[tokio::test]
async fn mode_anthropic_runs_several_turns_with_tools_and_records_them() {
    let place = Place::new();
    place.write("hello.txt", "The password is swordfish.\n");
    let server = calling(vec![
        json!({"tool": "Read", "input": {"file_path": place.path("hello.txt")}}),
        json!({"tool": "Write", "input": {"file_path": place.path("new.txt"), "content": "written\n"}}),
        json!({"tool": "Bash", "input": {"command": "echo 6*7=$((6*7))", "description": "Multiplies"}}),
    ])
    .await;
    let flags = ["--mode", "anthropic", "--base-url", &server.url, "--record"];
    let client = ["-p", "Read hello.txt", "--allowedTools", "Read,Write,Bash", "--permission-mode", "acceptEdits"];
    let output = launch(&place, &flags, &client).await;

    assert_eq!(stdout(&output).trim(), "All done.", "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(place.path("new.txt")).unwrap(), "written\n");
    let recorded = traces(&place, "anthropic");
    assert!(recorded.len() >= 4 && recorded.iter().all(|trace| trace.mode == "anthropic"), "{}", recorded.len());
    assert!(recorded.iter().any(|trace| trace.request.body.to_string().contains("swordfish")));
    let said = stderr(&output);
    let summary = format!("{} requests, {} prompt tokens (71% from the cache)", recorded.len(), 42 * recorded.len());
    assert!(said.contains(&summary) && said.contains("\nrecorded "), "{said}");
    assert!(!recorded[0].request.body["system"].to_string().contains("x-anthropic-billing-header"));
}

#[tokio::test]
async fn mode_claude_goes_where_the_client_alone_would_go_and_records_the_reference() {
    let place = Place::new();
    place.write("hello.txt", "The password is swordfish.\n");
    let server = calling(vec![json!({"tool": "Read", "input": {"file_path": place.path("hello.txt")}})]).await;
    let program = clients::installed("node_modules/.bin/claude");
    let client = ["--client", program.to_str().unwrap(), "--", "-p", "Read hello.txt", "--allowedTools", "Read"];
    let mut command = place.anyclaude(&[&["--mode", "claude", "--record"], &client[..]].concat());
    command.envs(clients::claude_environment(place.home.path())).env("ANTHROPIC_BASE_URL", &server.url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();

    assert_eq!(stdout(&output).trim(), "All done.", "{}", stderr(&output));
    let recorded = traces(&place, "claude");
    assert!(recorded.len() >= 2 && recorded.iter().all(|trace| trace.mode == "claude"), "{}", recorded.len());
    assert!(recorded.iter().any(|trace| trace.request.body.to_string().contains("swordfish")));
}

#[tokio::test]
async fn a_prompt_is_trimmed_on_its_way_to_a_server_elsewhere_too() {
    let place = Place::new();
    place.write("hello.txt", "The password is swordfish.\n");
    let read = json!({"tool": "Read", "input": {"file_path": place.path("hello.txt")}});
    let server = calling(vec![read]).await;
    let flags = ["--mode", "anthropic", "--base-url", &server.url, "--record", "--tools-only", "Read,Edit", "--compact-tools"];
    let output = launch(&place, &flags, &["-p", "Read hello.txt", "--allowedTools", "Read"]).await;

    assert_eq!(stdout(&output).trim(), "All done.", "{}", stderr(&output));
    let recorded = traces(&place, "anthropic");
    let sent = |trace: &Trace| trace.request.body["tools"].as_array().map_or(0, Vec::len);
    let most = recorded.iter().map(sent).max().unwrap();
    assert!(most > 10, "{most}");
    let given: Vec<MessagesRequest> = server.backend.requests.lock().unwrap().clone();
    assert!(given.iter().all(|request| request.tools.len() <= 2) && given.iter().any(|request| request.tools.len() == 2));
    assert!(stderr(&output).contains(&format!("prompt trimmed: {most} tools to 2, ")), "{}", stderr(&output));
}

#[tokio::test]
async fn the_debug_levels_tell_more_and_more_and_never_a_secret() {
    let server = calling(vec![]).await;
    let program = clients::installed("node_modules/.bin/claude");
    for (level, told) in [("0", [false, false, false]), ("1", [true, false, false]), ("2", [true, true, false]), ("3", [true; 3])]
    {
        let place = Place::new();
        let flags =
            ["--mode", "anthropic", "--base-url", &server.url, "--client", program.to_str().unwrap(), "--", "-p", "hello there"];
        let mut command = place.anyclaude(&flags);
        command.envs(clients::claude_environment(place.home.path())).env("ANYCLAUDE_DEBUG", level);
        command.env("ANTHROPIC_API_KEY", "sk-ant-api03-very-secret-key");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = stderr(&output);
        assert_eq!(
            ["POST /v1/messages", "request headers", "request body"].map(|text| said.contains(text)),
            told,
            "{level}: {said}"
        );
        assert!(!said.contains("very-secret-key"), "{said}");
    }
}

#[cfg(feature = "mlx")]
#[tokio::test]
async fn in_mode_mlx_a_file_is_read_and_reported() {
    let place = Place::new();
    place.write("hello.txt", "Hello from the file\n");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");
    let client = ["-p", "Read hello.txt and tell me what it says", "--allowedTools", "Read"];
    let output = launch(&place, &["--mode", "mlx", "--model", model, "--record"], &client).await;

    assert!(stdout(&output).contains("Hello from the file"), "{output:?}");
    let recorded = traces(&place, "mlx");
    assert!(recorded.iter().any(|trace| trace.response.status == 200 && trace.response.body["stop_reason"].is_string()));
    let said = stderr(&output);
    let has = |said: &str, start: &str| said.lines().any(|line| line.starts_with(start));
    assert!(["loading ", "loaded in ", "ready in ", "recorded "].iter().all(|start| has(&said, start)), "{said}");
    assert!(said.contains("mlx tiny answers ") && !said.contains("\n0 requests") && !has(&said, "warm"), "{said}");

    // The next run knows what its first request will begin with.
    let again = launch(&place, &["--mode", "mlx", "--model", model], &client).await;
    let said = stderr(&again);
    assert!(["warming: ", "warmed in ", "ready in "].iter().all(|start| has(&said, start)), "{said}");
    let summary = said.lines().find(|line| line.contains(" prompt tokens (")).unwrap_or_else(|| panic!("{said}"));
    assert!(!summary.contains("(0% from the cache)") && summary.ends_with(" s saved"), "{summary}");
}

#[cfg(feature = "mlx")]
#[tokio::test]
async fn a_trimmed_prompt_is_what_the_model_gets_and_not_what_is_recorded() {
    let place = Place::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny");
    let flags = ["--model", model, "--record", "--tools-only", "Read,Edit,Raed", "--compact-tools"];
    let output = launch(&place, &flags, &["-p", "Read hello.txt", "--max-turns", "1"]).await;

    let said = stderr(&output);
    let recorded = traces(&place, "mlx");
    let main = recorded.iter().find(|trace| !trace.request.body["tools"].as_array().unwrap_or(&vec![]).is_empty()).unwrap();
    let tools = main.request.body["tools"].as_array().unwrap().len();
    assert!(tools > 10, "{tools}");
    let line = said.lines().find(|line| line.starts_with("prompt trimmed: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with(&format!("prompt trimmed: {tools} tools to 2, ")), "{line}");
    assert!(said.contains("the client has no tool named Raed"), "{said}");
    let usage = &main.response.body["usage"];
    let prompt: u64 = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
        .map(|f| usage[f].as_u64().unwrap_or(0))
        .iter()
        .sum();
    let trimmed: u64 = line.split(" tokens to ").nth(1).unwrap().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert_eq!(prompt, trimmed, "{line}");
}
