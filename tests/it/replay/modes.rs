//! `replay --backend MODE`: the launcher's modes answer, through the conversion to chat completions.

use serde_json::json;

use super::shown;
use crate::support::chat_upstream::{Asked, ChatUpstream, Reply, lm_studio, plain};
use crate::support::demo::session;
use crate::support::process::{Ran, run};
use crate::support::sandbox::{Sandbox, portable};

/// A server that reads a file where it is offered tools and has not yet.
fn server(stream: fn(&Asked, &str, &[(&str, serde_json::Value)]) -> String) -> ChatUpstream {
    ChatUpstream::start(move |asked| {
        if asked.path.ends_with("/models") {
            return Reply::json(200, json!({"data": [{"id": "qwen3-8b", "object": "model"}]}));
        }
        let calls = [("Read", json!({"file_path": "a.txt"}))];
        let reads = asked.body["tool_choice"].is_object() || asked.body["tool_choice"] == "required";
        Reply::stream(stream(asked, if reads { "" } else { "Done." }, if reads { &calls } else { &[] }))
    })
}

fn replay(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.anyclaude(&[&["replay", "--phases", "cold"], arguments].concat());
    run(command.env("OPENROUTER_API_KEY", "or-key").env("OPENAI_API_KEY", "oa-key"))
}

#[test]
fn what_one_mode_answers_is_compared_with_what_another_did() {
    let sandbox = session();
    let (local, elsewhere, other) = (server(lm_studio), server(lm_studio), server(plain));
    replay(&sandbox, &["--backend", &format!("lmstudio:{}", local.url), "--update"]).exits(0);
    assert!(local.asked_to_answer().iter().all(|asked| asked.body["model"] == "qwen3-8b"));

    replay(&sandbox, &["--backend", &format!("openrouter:{}", elsewhere.url), "--model", "qwen/qwen3"]).exits(0);
    for asked in elsewhere.asked_to_answer() {
        assert_eq!(
            (&asked.body["model"], &asked.headers["authorization"]),
            (&json!("qwen/qwen3"), &"Bearer or-key".parse().unwrap())
        );
    }

    let ran = replay(&sandbox, &["--backend", &format!("openai:{}", other.url), "--model", "qwen3"]).exits(0);
    insta::assert_snapshot!(shown(&ran), @r#"
       Replaying 2 traces × cold against openai:http://127.0.0.1:[port]/v1 (model qwen3)
            PASS demo/001  Read                  cold [time]
            PASS demo/002  (no tool)             cold [time]

    The backend offers no cache control: cold and warm were made by salting the prompt's start; the tokens that its chat template puts before that stay cached.

    UNVERIFIED: the backend reports no cache figures, so whether cold, warm and cached happened is not known.

          Notice model-changed: info.model: "qwen3-8b" is accepted, "qwen3" came (2 traces)
        Fidelity as recorded: same tools 2 of 2 (100.0%) (the first tool was forced), same arguments 1 of 2 (50.0%)
         Summary 2 traces: 2 as accepted, 1 skipped (not a request for a message)
    "#);
    assert!(other.asked_to_answer().iter().all(|asked| asked.headers["authorization"] == "Bearer oa-key"));
}

#[test]
fn a_modes_server_and_model_may_be_configured() {
    let (sandbox, local) = (session(), server(plain));
    sandbox.write_home("anyclaude.toml", format!("[modes.openai]\nbase_url = \"{}\"\nmodel = \"qwen3\"\n", local.url));
    replay(&sandbox, &["--backend", "openai", "--update"]).exits(0);
    assert!(local.asked_to_answer().iter().all(|asked| asked.body["model"] == "qwen3"));
}

#[test]
fn what_a_mode_lacks_is_one_line_with_the_way_out() {
    let sandbox = session();
    let refusals = [&["--backend", "openai"][..], &["--backend", "anthropic"], &["--backend", "lmstudio:http://127.0.0.1:9/v1"]];
    let refusals: String = refusals.into_iter().map(|arguments| replay(&sandbox, arguments).refusal()).collect();
    insta::assert_snapshot!(portable(&refusals), @"
    exit 2: error: mode openai needs the name of a model: give it with --model NAME, or as model in ~/.anyclauderc.json
    exit 2: error: --backend anthropic needs the address of a server: anthropic:URL, or just the URL
    exit 3: error: http://127.0.0.1:9/v1: Connection refused (os error [number]); start LM Studio's server: lms server start
    ");
}
