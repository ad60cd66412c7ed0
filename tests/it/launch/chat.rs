//! The real Claude Code client, launched on servers that speak OpenAI's chat completions, with their quirks.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::sandbox;
use crate::support::chat_upstream::{Asked, ChatUpstream, Reply, frame, lm_studio, open_router, plain};
use crate::support::clients::{client_line, launching_claude};
use crate::support::output::{line_of, uncounted};
use crate::support::process::{Ran, run};
use crate::support::sandbox::Sandbox;

/// How one kind of server streams a text and calls.
type Stream = fn(&Asked, &str, &[(&str, Value)]) -> String;

/// A server that reads hello.txt, writes new.txt, then says goodbye.
fn server(stream: Stream) -> ChatUpstream {
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
}

/// A server whose model has a context of this many tokens, and says of every answer that its prompt took so many. It always
/// asks for the same command, except where it is asked for a summary.
fn nearly_full(context: u64, prompt_tokens: u64) -> ChatUpstream {
    ChatUpstream::start(move |asked| {
        if asked.path.ends_with("/models") {
            return Reply::json(200, json!({"data": [{"id": "qwen3-8b", "max_model_len": context}]}));
        }
        let summary = asks_for_summary(asked);
        let calls = [("Read", json!({"file_path": "hello.txt"}))];
        let (text, calls) = if summary { ("<summary>Nothing was done.</summary>", &[][..]) } else { ("", &calls[..]) };
        Reply::stream(
            lm_studio(asked, text, calls).replace("\"prompt_tokens\":50", &format!("\"prompt_tokens\":{prompt_tokens}")),
        )
    })
}

/// Whether this is the client's own request to summarise the conversation.
fn asks_for_summary(asked: &Asked) -> bool {
    let last = asked.body["messages"].as_array().and_then(|messages| messages.last());
    last.is_some_and(|last| last.to_string().contains("<summary>"))
}

fn launch(sandbox: &Sandbox, flags: &[&str]) -> Ran {
    launch_with(sandbox, flags, &[])
}

fn launch_with(sandbox: &Sandbox, flags: &[&str], variables: &[(&str, &str)]) -> Ran {
    let client = ["-p", "Read hello.txt", "--allowedTools", "Read,Write", "--permission-mode", "acceptEdits"];
    let mut command = launching_claude(sandbox, flags, &client);
    run(command.env("OPENROUTER_API_KEY", "or-key").envs(variables.iter().copied()))
}

/// The client must have done what it was asked to, in several turns.
#[track_caller]
fn check(sandbox: &Sandbox, upstream: &ChatUpstream, ran: &Ran) {
    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    assert_eq!(sandbox.read("new.txt"), "written");
    let asked = upstream.asked();
    assert!(asked.iter().any(|asked| asked.body["messages"].to_string().contains("swordfish")));
}

/// The line that sums a launch up, less how many requests the client's version makes.
fn summary(ran: &Ran) -> String {
    let line = ran.stderr.lines().find(|line| line.contains(" prompt tokens (")).unwrap_or_else(|| panic!("{}", ran.stderr));
    let (_, rest) = line.split_once(", ").unwrap();
    uncounted(rest)
}

#[test]
fn lm_studio_answers_with_the_model_that_it_has() {
    let (sandbox, upstream) = (sandbox(), server(lm_studio));
    let ran = launch(&sandbox, &["--mode", "lmstudio", "--base-url", &upstream.url]);
    check(&sandbox, &upstream, &ran);
    insta::assert_snapshot!(client_line(&ran.stderr, "ready in "), @"ready in [time]: lmstudio qwen3-8b answers [client] at http://127.0.0.1:[port]");
    assert!(upstream.asked_to_answer().iter().all(|asked| asked.body["model"] == "qwen3-8b"));
}

#[test]
fn the_client_summarises_before_the_servers_context_is_full() {
    for (context, prompt_tokens, summarises) in [(40_000, 35_000, true), (40_000, 28_000, false), (200_000, 35_000, false)] {
        let (sandbox, upstream) = (sandbox(), nearly_full(context, prompt_tokens));
        let flags = ["--mode", "openai", "--base-url", &upstream.url, "--model", "qwen3-8b"];
        run(&mut launching_claude(&sandbox, &flags, &["-p", "Read hello.txt", "--allowedTools", "Read", "--max-turns", "3"]));
        let asked = upstream.asked_to_answer();
        assert_eq!(asked.iter().any(asks_for_summary), summarises, "{context} {prompt_tokens}");
        let most = asked.iter().filter_map(|asked| asked.body["max_tokens"].as_u64()).max();
        assert_eq!(most, Some((context / 5).min(32_000)));
    }
}

#[test]
fn a_user_who_has_set_the_clients_limits_is_not_overruled() {
    let (sandbox, upstream) = (sandbox(), nearly_full(40_000, 50));
    let show = "echo $CLAUDE_CODE_MAX_OUTPUT_TOKENS $CLAUDE_CODE_AUTO_COMPACT_WINDOW $CLAUDE_AUTOCOMPACT_PCT_OVERRIDE";
    let flags = ["--mode", "openai", "--base-url", &upstream.url, "--model", "qwen3-8b", "--client", "sh", "--", "-c", show];
    let ran = run(sandbox.anyclaude(&flags).env("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "123"));
    assert_eq!(ran.stdout, "123\n");
}

#[test]
fn open_router_answers_with_its_key_and_cache_figures() {
    let (sandbox, upstream) = (sandbox(), server(open_router));
    let flags = ["--mode", "openrouter", "--base-url", &upstream.url, "--model", "qwen/qwen3-coder", "--record"];
    let ran = launch_with(&sandbox, &flags, &[("ANYCLAUDE_DEBUG", "3")]);
    check(&sandbox, &upstream, &ran);
    assert!(upstream.asked().iter().all(|asked| asked.headers["authorization"] == "Bearer or-key"));
    let said = &ran.stderr;
    assert!(["request converted: ", "chat request {", "answer converted"].iter().all(|text| said.contains(text)), "{said}");
    assert!(!said.contains("or-key"), "{said}");
    assert!(said.contains("(80% from the cache)"), "{said}");
    insta::assert_snapshot!(summary(&ran), @"N prompt tokens (N% from the cache), N output tokens");
    let traces = anyclaude::trace::find(&[sandbox.home(".anyclaude/traces/openrouter")]).unwrap();
    assert!(traces.iter().all(|file| !std::fs::read_to_string(file).unwrap().contains("or-key")));
}

#[test]
fn any_server_of_the_protocol_answers() {
    let (sandbox, upstream) = (sandbox(), server(plain));
    let ran = launch(&sandbox, &["--mode", "openai", "--base-url", &upstream.url, "--model", "local"]);
    check(&sandbox, &upstream, &ran);
    // It says nothing of tokens, and that is what the summary says.
    insta::assert_snapshot!(summary(&ran), @"N prompt tokens (N% from the cache), N output tokens; 3 answers came without token counts");
}

#[test]
fn the_client_gets_over_errors_before_and_in_the_middle_of_an_answer() {
    let (sandbox, answers) = (sandbox(), AtomicUsize::new(0));
    let upstream = ChatUpstream::start(move |asked| match answers.fetch_add(1, Ordering::Relaxed) {
        // The launcher asks for the model's context.
        0 if asked.path.ends_with("/models") => Reply::json(404, json!({})),
        1 => {
            let error = json!({"error": {"message": "slow down", "code": 429}});
            Reply::json(429, error).with("retry-after", "0")
        }
        2 => {
            let choice = json!({"index": 0, "delta": {"content": ""}, "finish_reason": "error"});
            let error = json!({"code": 502, "message": "Provider disconnected"});
            Reply::stream(
                ": OPENROUTER PROCESSING\n\n".to_owned()
                    + &frame(&json!({"choices": [{"index": 0, "delta": {"content": "I will"}}]}))
                    + &frame(&json!({"id": "gen-1", "error": error, "choices": [choice]})),
            )
        }
        _ => Reply::stream(open_router(asked, "All done.", &[])),
    });
    let ran = launch(&sandbox, &["--mode", "openrouter", "--base-url", &upstream.url, "--model", "some/model"]);
    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    insta::assert_snapshot!(summary(&ran), @"N prompt tokens (N% from the cache), N output tokens; 2 requests failed; 1 answer came without token counts");
}

#[test]
fn an_error_that_no_retry_helps_is_shown_by_the_client() {
    let error = "The number of tokens to keep from the initial prompt is greater than the context length.";
    let upstream = ChatUpstream::start(move |_| Reply::json(400, json!({"error": error})));
    let ran = launch(&sandbox(), &["--mode", "lmstudio", "--base-url", &upstream.url, "--model", "small"]);
    assert!(ran.stdout.contains("Prompt is too long") || ran.stdout.contains(error), "{ran:?}");
    assert_ne!(ran.code, Some(0));
}

#[test]
fn the_next_mode_answers_where_the_first_is_down_and_the_summary_says_so() {
    let (sandbox, upstream) = (sandbox(), server(open_router));
    let modes = json!({"lmstudio": {"model": "gone"}, "openrouter": {"model": "qwen/qwen3-coder", "base_url": upstream.url}});
    let config = json!({"mode": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "fallback": ["openrouter"], "modes": modes});
    sandbox.write_home(".anyclauderc.json", config.to_string());
    let ran = launch(&sandbox, &[]);
    check(&sandbox, &upstream, &ran);
    let said = &ran.stderr;
    insta::assert_snapshot!(line_of(said, "http://127.0.0.1:9/v1"), @"http://127.0.0.1:9/v1 answered 0");
    let line = said.lines().find(|line| line.starts_with(&format!("{} answered ", upstream.url)));
    assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{said}");
}
