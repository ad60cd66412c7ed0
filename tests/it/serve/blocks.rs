//! Content blocks that the embedded model cannot be given: no session ends by them.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::clients::{run_claude, running_claude};
use crate::support::http::post;
use crate::support::process::Running;
use crate::support::recorder::Recorder;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

/// A picture, a search by Anthropic's servers, a summary, and a block that nobody knows.
fn conversation() -> Value {
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let pdf = json!({"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
    let found = json!([{"type": "web_search_result", "title": "MLX", "url": "https://example.org", "encrypted_content": "Zm9v"}]);
    json!([
        {"role": "user", "content": [{"type": "compaction", "content": "They spoke of files."}, {"type": "text", "text": "See:"}, picture, pdf]},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "mlx"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found},
            {"type": "hologram", "depth": 3}, {"type": "text", "text": "Done."}]},
        {"role": "system", "content": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "Write"}}]},
        {"role": "system", "output_config": {"effort": "low"}},
        {"role": "user", "content": "Read hello.txt"},
    ])
}

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    json!([{"name": "Read", "input_schema": schema}, {"name": "Write", "input_schema": schema},
           {"type": "bash_20250124", "name": "bash"}, {"type": "web_search_20250305", "name": "web_search"},
           {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}, {"type": "memory_20250818", "name": "memory"},
           {"type": "computer_20251124", "name": "computer", "display_width_px": 1280, "display_height_px": 800}])
}

#[test]
fn a_session_goes_on_whatever_its_history_holds() {
    let server = Serving::start(MODEL, &[]);
    let send = |path: &str, choice: Value| {
        let body = json!({"model": "m", "max_tokens": 200, "temperature": 0, "messages": conversation(), "tools": tools(),
            "tool_choice": choice});
        post(&format!("{}{path}", server.url), &body)
    };
    let forced = |name: &str| send("/v1/messages", json!({"type": "tool", "name": name}));

    let answer = forced("Read").json();
    assert_eq!(answer["content"][0]["name"], "Read", "{answer}");
    let counted = send("/v1/messages/count_tokens", Value::Null).json();
    let usage = &answer["usage"];
    let prompt: u64 = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
        .iter()
        .filter_map(|field| usage[field].as_u64())
        .sum();
    assert_eq!(counted["input_tokens"], prompt);

    let command = &forced("bash").json()["content"][0];
    assert!(command["input"].as_object().unwrap().keys().all(|key| ["command", "restart"].contains(&key.as_str())), "{command}");
    let mut finished = 0;
    for (name, first) in [("str_replace_based_edit_tool", "command"), ("memory", "command"), ("computer", "action")] {
        let call = &forced(name).json()["content"][0];
        assert_eq!(call["name"], name);
        // So small a model may not come to the call's end: then nothing of its input counts.
        let input = call["input"].as_object().unwrap();
        assert!(input.is_empty() || input.contains_key(first), "{call}");
        finished += usize::from(!input.is_empty());
    }
    assert!(finished > 0, "no call has come to its end");

    for (name, reason) in [
        ("Write", "tool_choice: Tool 'Write' not found in provided tools"),
        (
            "web_search",
            "tool_choice.name: web_search (web_search_20250305) is run by Anthropic's servers, so this model cannot call it",
        ),
    ] {
        let refused = forced(name);
        assert_eq!((refused.status, &refused.json()["error"]["message"]), (400, &json!(reason)));
    }
}

#[test]
fn what_is_wrong_inside_of_a_block_is_named_by_its_path() {
    let server = Serving::start(MODEL, &[]);
    let refused = |fields: Value| {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let refused = post(&format!("{}/v1/messages", server.url), &body);
        format!("{} {}", refused.status, refused.json()["error"]["message"].as_str().unwrap())
    };
    let user = |block: Value| json!({"messages": [{"role": "user", "content": [block]}]});
    let result = |block: Value| user(json!({"type": "tool_result", "tool_use_id": "t", "content": [block]}));
    let mut deep = json!(1);
    (0..200).for_each(|_| deep = json!([deep]));
    let said: Vec<String> = [
        user(json!({"type": "text", "text": 7})),
        user(json!({"type": "text"})),
        result(json!({"type": "text", "text": null})),
        result(json!({"type": "image", "source": "a.png"})),
        user(json!({"type": "tool_use", "id": "t", "name": "a", "input": {}})),
        json!({"max_tokens": "many"}),
        json!({"tool_choice": {"type": "some"}}),
        json!({"tools": [{"type": "function", "function": {"name": "a"}}]}),
        json!({"metadata": {"deep": deep}}),
    ]
    .into_iter()
    .map(refused)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    400 messages.0.content.0.text.text: Input should be a valid string
    400 messages.0.content.0.text.text: Field required
    400 messages.0.content.0.tool_result.content.0.text.text: Input should be a valid string
    400 messages.0.content.0.tool_result.content.0.image.source: Input should be a valid dictionary
    400 messages.0.content.0: `tool_use` blocks can only be in `assistant` messages
    400 max_tokens: Input should be a valid integer
    400 tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'
    400 tools.0.function: Extra inputs are not permitted: name, description and input_schema stand in the tool itself
    400 the request is nested more than 127 levels deep
    "#);
}

#[test]
fn paths_and_errors_are_as_clients_know_them() {
    let server = Serving::start(MODEL, &[]);
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}], "tools": null});
    for path in ["//v1/messages", "/v1/messages/", "//v1//messages/count_tokens/?beta=true"] {
        assert_eq!(post(&format!("{}{path}", server.url), &body).status, 200, "{path}");
    }
    let message = |path: &str, body: &Value| {
        let refused = post(&format!("{}{path}", server.url), body);
        let error = refused.json();
        assert!(error["request_id"].as_str().unwrap().starts_with("req_"), "{error}");
        error["error"]["message"].as_str().unwrap().to_owned()
    };
    insta::assert_snapshot!(message("/v1/v1/messages", &body), @"no such path: /v1/v1/messages; set the client's base URL without /v1");
    insta::assert_snapshot!(message("/v1/completion", &body), @"no such path: /v1/completion; there are /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses, /v1/completions, /v1/models");
    insta::assert_snapshot!(message("/v1/messages", &json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user"}]})), @"messages.0.content: Field required");
    let chat = post(&format!("{}/v1/chat/completions", server.url), &json!({"model": "m", "messages": []}));
    let error = json!({"message": "messages: at least one message is required", "type": "invalid_request_error",
        "param": "messages", "code": null});
    assert_eq!((chat.status, chat.json()), (400, json!({"error": error})));
}

#[test]
fn claude_code_goes_on_for_three_turns_after_a_picture() {
    let (server, sandbox) = (Serving::start(MODEL, &[]), Sandbox::new());
    sandbox.write("hello.txt", "The password is swordfish.\n");
    // One red pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}});
    let text = json!({"type": "text", "text": "Read hello.txt"});
    let arguments =
        ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--allowedTools", "Read"];
    let mut client = Running::start(running_claude(&sandbox, &server.url, &arguments).stdin(Stdio::piped()));
    // The picture comes last: after a line of ours the small model often writes a path without end, which has no time limit.
    for content in [json!([text, picture]), json!([text]), json!([text]), json!([text])] {
        // One line is one message of the user.
        client.write(&format!("{}\n", json!({"type": "user", "message": {"role": "user", "content": content}})));
        let mut lines = std::iter::repeat_with(|| serde_json::from_str::<Value>(&client.prints("{")).unwrap());
        let result = lines.find(|line| line["type"] == "result").unwrap();
        assert_eq!(result["is_error"], false, "{result}");
        // What so small a model says with a picture in its prompt does not matter here.
        assert_eq!(result["stop_reason"], "end_turn", "{result}");
    }
    client.end().exits(0);
}

#[test]
fn claude_code_resumes_a_session_with_blocks_of_anthropics_servers() {
    let (server, sandbox) = (Serving::start(MODEL, &[]), Sandbox::new());
    sandbox.write("hello.txt", "The password is swordfish.\n");
    let ask = ["-p", "Read hello.txt", "--allowedTools", "Read"];
    run_claude(&sandbox, &server.url, &ask).exits(0);

    let (id, session) = kept_session(&sandbox);
    fs::write(&session, with_server_blocks(&fs::read_to_string(&session).unwrap())).unwrap();
    let mut recorder = Recorder::start(&server.url);
    let resumed = run_claude(&sandbox, &recorder.address, &[&["--resume", &id][..], &ask].concat()).exits(0);
    assert!(resumed.stdout.contains("swordfish"), "{}", resumed.stdout);
    recorder.stop();
    for trace in recorder.files() {
        let trace = fs::read_to_string(trace).unwrap();
        assert!(trace.contains("\"server_tool_use\"") && trace.contains("\"compaction\""), "the client sent the blocks");
    }
}

/// The one session that Claude Code has kept: its id and its file.
fn kept_session(sandbox: &Sandbox) -> (String, PathBuf) {
    let projects = fs::read_dir(sandbox.home("projects")).unwrap();
    let files = projects.flat_map(|project| fs::read_dir(project.unwrap().path()).unwrap()).map(|file| file.unwrap().path());
    let sessions: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")).collect();
    let [session] = &sessions[..] else { panic!("{sessions:?}") };
    (session.file_stem().unwrap().to_str().unwrap().into(), session.clone())
}

/// A kept session whose last answer begins with a search by Anthropic's servers and a summary.
fn with_server_blocks(session: &str) -> String {
    let mut lines: Vec<Value> = session.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answer = lines.iter_mut().rfind(|line| line["type"] == "assistant").unwrap();
    let found = json!([{"type": "web_search_result", "title": "MLX", "url": "https://example.org", "encrypted_content": "Zm9v"}]);
    let blocks = [
        json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "mlx"}}),
        json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found}),
        json!({"type": "compaction", "content": "They spoke of files."}),
    ];
    answer["message"]["content"].as_array_mut().unwrap().splice(..0, blocks);
    lines.iter().map(|line| format!("{line}\n")).collect()
}
