//! The real Claude Code client, launched on servers that speak OpenAI's chat completions, with their quirks.

#[path = "support/chat_upstream.rs"]
mod chat_upstream;
#[path = "support/clients.rs"]
mod clients;
#[path = "support/launched.rs"]
mod launched;

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_upstream::{Asked, ChatUpstream, Reply, frame, lm_studio, open_router, plain};
use launched::{Place, stderr, stdout};
use serde_json::{Value, json};

/// How one kind of server streams a text and calls.
type Stream = fn(&Asked, &str, &[(&str, Value)]) -> String;

/// A place with hello.txt in it.
fn place() -> Place {
    let place = Place::new();
    place.write("hello.txt", "The password is swordfish.\n");
    place
}

/// A server that reads hello.txt, writes new.txt, then says goodbye.
async fn server(stream: Stream) -> ChatUpstream {
    ChatUpstream::start(move |asked| {
        if asked.path.ends_with("/models") {
            let models = ["text-embedding-nomic", "qwen3-8b"].map(|id| json!({"id": id, "object": "model"}));
            return Reply::json(200, json!({"data": models, "object": "list"}));
        }
        let messages = asked.body["messages"].as_array().unwrap();
        let results = messages.iter().filter(|message| message["role"] == "tool").count();
        let write = json!({"file_path": "new.txt", "content": "written"});
        Reply::stream(match results {
            0 => stream(asked, "Let me look.", &[("Read", json!({"file_path": "hello.txt"}))]),
            1 => stream(asked, "", &[("Write", write)]),
            _ => stream(asked, "All done.", &[]),
        })
    })
    .await
}

async fn launch(place: &Place, flags: &[&str]) -> Output {
    launch_with(place, flags, &[]).await
}

async fn launch_with(place: &Place, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let program = clients::installed("node_modules/.bin/claude");
    let client = ["-p", "Read hello.txt", "--allowedTools", "Read,Write", "--permission-mode", "acceptEdits"];
    let arguments = [flags, &["--client", program.to_str().unwrap(), "--"], &client].concat();
    let mut command = place.anyclaude(&arguments);
    command
        .envs(clients::claude_environment(place.home.path()))
        .env("OPENROUTER_API_KEY", "or-key")
        .envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The client must have done what it was asked to, in several turns.
fn check(place: &Place, upstream: &ChatUpstream, output: &Output) {
    assert_eq!(stdout(output).trim(), "All done.", "{}", stderr(output));
    assert_eq!(std::fs::read_to_string(place.path("new.txt")).unwrap(), "written");
    let asked = upstream.asked();
    assert!(asked.iter().any(|asked| asked.body["messages"].to_string().contains("swordfish")));
}

#[tokio::test]
async fn lm_studio_answers_with_the_model_that_it_has() {
    let (place, upstream) = (place(), server(lm_studio).await);
    let output = launch(&place, &["--mode", "lmstudio", "--base-url", &upstream.url]).await;
    check(&place, &upstream, &output);
    assert!(stderr(&output).contains("lmstudio qwen3-8b answers"), "{}", stderr(&output));
    assert!(
        upstream
            .asked()
            .iter()
            .filter(|asked| asked.path.ends_with("/completions"))
            .all(|asked| asked.body["model"] == "qwen3-8b")
    );
}

#[tokio::test]
async fn open_router_answers_with_its_key_and_cache_figures() {
    let (place, upstream) = (place(), server(open_router).await);
    let flags = ["--mode", "openrouter", "--base-url", &upstream.url, "--model", "qwen/qwen3-coder", "--record"];
    let output = launch_with(&place, &flags, &[("ANYCLAUDE_DEBUG", "3")]).await;
    check(&place, &upstream, &output);
    assert!(upstream.asked().iter().all(|asked| asked.headers["authorization"] == "Bearer or-key"));
    let said = stderr(&output);
    assert!(["request converted: ", "chat request {", "answer converted"].iter().all(|text| said.contains(text)), "{said}");
    assert!(!said.contains("or-key"), "{said}");
    assert!(stderr(&output).contains("(80% from the cache)"), "{}", stderr(&output));
    let traces = anyclaude::trace::find(&[place.home.path().join(".anyclaude/traces/openrouter")]).unwrap();
    assert!(traces.iter().all(|file| !std::fs::read_to_string(file).unwrap().contains("or-key")));
}

#[tokio::test]
async fn any_server_of_the_protocol_answers() {
    let (place, upstream) = (place(), server(plain).await);
    let output = launch(&place, &["--mode", "openai", "--base-url", &upstream.url, "--model", "local"]).await;
    check(&place, &upstream, &output);
    // It says nothing of tokens, and that is what the summary says.
    assert!(stderr(&output).contains(" answers came without token counts"), "{}", stderr(&output));
}

#[tokio::test]
async fn the_client_gets_over_errors_before_and_in_the_middle_of_an_answer() {
    let (place, answers) = (place(), AtomicUsize::new(0));
    let upstream = ChatUpstream::start(move |asked| match answers.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let error = json!({"error": {"message": "slow down", "code": 429}});
            Reply::json(429, error).with("retry-after", "0")
        }
        1 => {
            let choice = json!({"index": 0, "delta": {"content": ""}, "finish_reason": "error"});
            let error = json!({"code": 502, "message": "Provider disconnected"});
            Reply::stream(
                ": OPENROUTER PROCESSING\n\n".to_owned()
                    + &frame(&json!({"choices": [{"index": 0, "delta": {"content": "I will"}}]}))
                    + &frame(&json!({"id": "gen-1", "error": error, "choices": [choice]})),
            )
        }
        _ => Reply::stream(open_router(asked, "All done.", &[])),
    })
    .await;
    let output = launch(&place, &["--mode", "openrouter", "--base-url", &upstream.url, "--model", "some/model"]).await;
    assert_eq!(stdout(&output).trim(), "All done.", "{}", stderr(&output));
    assert!(stderr(&output).contains("; 2 requests failed"), "{}", stderr(&output));
}

#[tokio::test]
async fn an_error_that_no_retry_helps_is_shown_by_the_client() {
    let place = place();
    let error = "The number of tokens to keep from the initial prompt is greater than the context length.";
    let upstream = ChatUpstream::start(move |_| Reply::json(400, json!({"error": error}))).await;
    let output = launch(&place, &["--mode", "lmstudio", "--base-url", &upstream.url, "--model", "small"]).await;
    assert!(stdout(&output).contains("Prompt is too long") || stdout(&output).contains(error), "{output:?}");
    assert_ne!(output.status.code(), Some(0));
}

#[tokio::test]
async fn the_next_mode_answers_where_the_first_is_down_and_the_summary_says_so() {
    let (place, upstream) = (place(), server(open_router).await);
    let modes = json!({"lmstudio": {"model": "gone"}, "openrouter": {"model": "qwen/qwen3-coder", "base_url": upstream.url}});
    let config = json!({"mode": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "fallback": ["openrouter"], "modes": modes});
    place.write(".anyclauderc.json", &config.to_string());
    let output = launch(&place, &[]).await;
    check(&place, &upstream, &output);
    let said = stderr(&output);
    assert!(said.contains("http://127.0.0.1:9/v1 answered 0\n"), "{said}");
    let line =
        said.lines().find(|line| line.starts_with(&format!("{} answered ", upstream.url))).unwrap_or_else(|| panic!("{said}"));
    assert!(!line.ends_with(" 0"), "{line}");
}
