//! The transcript that the real Claude Code writes, against what went over the wire in the same session.

use std::fs;

use anyclaude::trace::{self, ExchangeOutcome, Trace, asks_for_message};
use anyclaude::wire::MessagesRequest;
use serde_json::{Value, json};

use crate::support::clients::{claude, with_claude_settings};
use crate::support::process::{Ran, run};
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::Sandbox;
use crate::support::scripted::{Scripted, Served, answer, tool_results};

/// Says what a sub-agent is asked, and so which requests are its.
const SUBTASK: &str = "Find the word in hello.txt";

/// An upstream that has files read, alone and with a command, and a sub-agent sent.
fn upstream(sandbox: &Sandbox) -> Served {
    let read = json!({"tool": "Read", "input": {"file_path": sandbox.path("hello.txt")}});
    let run = json!({"tool": "Bash", "input": {"command": "echo é", "description": "Says é"}});
    let send = json!({"tool": "Agent", "input": {"description": "Find", "prompt": SUBTASK, "subagent_type": "general-purpose"}});
    let says = json!({"text": "I look."});
    // By how many results there are.
    let own = [vec![says.clone(), read.clone()], vec![read.clone(), run], vec![], vec![send]];
    let of_agent = [vec![says, read]];
    Scripted::new(move |request: &MessagesRequest| {
        let first = serde_json::to_string(&request.messages[0]).unwrap();
        let script = if first.contains(SUBTASK) { &of_agent[..] } else { &own[..] };
        let blocks = script.get(tool_results(request).len()).cloned().unwrap_or(vec![json!({"text": "All done."})]);
        Ok(answer(&blocks))
    })
    .serve()
}

/// Runs Claude Code through `anyclaude record`, into `wire/s`.
fn recorded_session(sandbox: &Sandbox) {
    let upstream = upstream(sandbox);
    let record = ["record", "--upstream", &upstream.url, "--port", "0", "--out", "wire", "--session", "s", "--"];
    let client = [claude().to_str().unwrap().to_owned(), "-p".into(), "Please do it".into()];
    let mut command = sandbox.anyclaude(&record);
    command.args(client).args(["--allowedTools", "Read,Bash,Agent"]).env("ANTHROPIC_API_KEY", "local");
    let ran = run(with_claude_settings(sandbox, &mut command)).exits(0);
    assert!(ran.stdout.contains("All done."), "{ran:?}");
}

fn import(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.anyclaude(&[&["trace", "import", "--out", "imported"], arguments].concat());
    run(with_claude_settings(sandbox, &mut command))
}

/// The traces of Messages requests in a folder of the project, of the user's conversation or of sub-agents.
fn traces(sandbox: &Sandbox, folder: &str, of_agents: bool) -> Vec<Trace> {
    let files = trace::find(&[sandbox.path(folder)]).unwrap();
    let traces = files.iter().map(|file| trace::read(file).unwrap());
    traces
        .filter(|trace| asks_for_message(trace) && trace.request.headers.contains_key("x-claude-code-agent-id") == of_agents)
        .collect()
}

/// A body as it would be if texts were always sent as blocks.
fn in_blocks(mut body: Value) -> Value {
    for message in body["messages"].as_array_mut().unwrap() {
        if let Value::String(text) = &message["content"] {
            message["content"] = json!([{"type": "text", "text": text}]);
        }
    }
    body
}

#[test]
fn requests_are_rebuilt_from_a_transcript_as_they_went_over_the_wire() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "the word is swordfish\n");
    recorded_session(&sandbox);
    let said = import(&sandbox, &[]).exits(0).stdout;

    for of_agents in [false, true] {
        let (wire, imported) = (traces(&sandbox, "wire", of_agents), traces(&sandbox, "imported", of_agents));
        assert!(imported.len() >= 2, "{said}");
        assert_eq!(imported.len(), wire.len(), "{said}");
        for (wire, imported) in wire.into_iter().zip(imported) {
            same_request(&wire, &imported);
            same_answer(&wire, &imported);
        }
    }
    assert!(!said.contains("not imported") && !said.contains("without"), "{said}");
    sandbox.run(&["trace", "validate", "imported"]).exits(0);
    // Again, and nothing changes.
    let before = traces(&sandbox, "imported", false);
    import(&sandbox, &[]).exits(0);
    assert_eq!(traces(&sandbox, "imported", false), before);
}

/// All but what no transcript holds.
#[track_caller]
fn same_request(wire: &Trace, imported: &Trace) {
    for name in ["anthropic-beta", "x-claude-code-session-id", "x-claude-code-agent-id"] {
        assert_eq!(imported.request.headers.get(name), wire.request.headers.get(name), "{name}");
    }
    let mut sent = in_blocks(wire.request.body.clone());
    let fields = sent.as_object_mut().unwrap();
    assert!(fields.shift_remove("metadata").is_some() && fields.shift_remove("stream") == Some(json!(true)));
    let system = sent["system"].as_array_mut().unwrap();
    system.retain(|block| !block["text"].as_str().unwrap().starts_with("x-anthropic-billing-header"));
    // As texts, since a model sees the order of an argument's keys too.
    for field in ["tools", "system"] {
        assert_eq!(imported.request.body[field].to_string(), sent[field].to_string());
    }
    assert_eq!(imported.request.body, sent);
}

#[track_caller]
fn same_answer(wire: &Trace, imported: &Trace) {
    assert_eq!((imported.response.status, imported.outcome), (200, ExchangeOutcome::Complete));
    let (sent, rebuilt) = (&wire.response.body, &imported.response.body);
    for field in ["id", "type", "role", "content", "stop_reason", "stop_sequence"] {
        assert_eq!(rebuilt[field], sent[field], "{field}");
    }
    for (count, sent) in sent["usage"].as_object().unwrap() {
        assert_eq!(rebuilt["usage"][count], *sent, "{count}");
    }
}

#[test]
fn what_is_imported_can_be_replayed() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "the word is swordfish\n");
    recorded_session(&sandbox);
    import(&sandbox, &[]).exits(0);
    let backend = ReplayBackend::with_cache_control(Flaw::None);
    let replayed = sandbox.run(&["replay", "imported", "--backend", &backend.url, "--update"]).exits(0);
    // How many there are hangs on when the sub-agent was done.
    assert!(replayed.stdout.contains(" traces: 0 as accepted, ") && replayed.stdout.contains(" updated\n"), "{replayed:?}");
}

#[test]
fn without_a_session_here_it_is_said_where_it_was_looked_for() {
    let sandbox = Sandbox::new();
    let said = import(&sandbox, &[]).exits(2).stderr;
    let folder = sandbox.path("").to_str().unwrap().trim_end_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let said = sandbox.portable(&said.replace(&folder, "[folder]"));
    insta::assert_snapshot!(said, @"error: no session of Claude Code in this folder: [home]/projects/[folder] has no transcripts; name the file to import");
}

#[test]
fn an_unknown_file_is_refused_with_the_formats_that_are_known() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("notes.txt"), "some notes\n").unwrap();
    let said = import(&sandbox, &["notes.txt"]).exits(2).stderr;
    insta::assert_snapshot!(said, @"error: notes.txt: no format that anyclaude knows; it reads claude-code (Claude Code's session transcripts), har (HTTP archives, HAR 1.2), mitmproxy (mitmproxy's flow files), claude-trace (claude-trace's logs), litellm (LiteLLM's logs), otlp (OpenTelemetry's spans of generative AI, OTLP/JSON). If it is one of these, say which with --from");
}

#[test]
fn the_clients_credentials_in_the_environment_are_redacted_in_traces_and_messages() {
    let sandbox = Sandbox::new();
    let pair = |text: &str| {
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]});
        let request = json!({"timestamp": 1.0, "method": "POST", "url": "http://h/v1/messages", "body": body});
        json!({"request": request, "response": null, "logged_at": "2026-01-02T03:04:05Z"})
    };
    let lines = format!("{}\n{}\n", pair("not correct-horse nor battery-staple"), json!("correct-horse"));
    fs::write(sandbox.path("correct-horse.jsonl"), lines).unwrap();
    let mut command = sandbox.anyclaude(&["trace", "import", "correct-horse.jsonl", "correct-horse.txt"]);
    command.env("ANTHROPIC_API_KEY", "correct-horse").env("ANTHROPIC_CUSTOM_HEADERS", "X-Auth-Token: battery-staple");
    let ran = run(&mut command).exits(2);
    assert!(!ran.stdout.contains("correct-horse:") && !ran.stderr.contains("correct-horse"), "{ran:?}");
    let traces = traces(&sandbox, "traces", false);
    assert_eq!(traces[0].request.body["messages"][0]["content"], "not [redacted] nor [redacted]");
}
