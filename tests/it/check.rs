//! `anyclaude check`: the real client against a server whose answers are written here, and the embedded model's cache.

use anyclaude::wire::MessagesRequest;
use serde_json::{Value, json};

use crate::support::clients::{self, with_claude_settings};
use crate::support::process::{Ran, run};
use crate::support::sandbox::{Sandbox, portable};
use crate::support::scripted::{Scripted, answer};

/// Checks the tools on a server that answers like this.
fn check_tools(next: impl Fn(&MessagesRequest) -> Value + Send + Sync + 'static) -> Ran {
    let server = Scripted::new(move |request| Ok(answer(&[next(request)]))).serve();
    let (sandbox, client) = (Sandbox::new(), clients::claude());
    let arguments = ["check", "tools", "--mode", "anthropic", "--base-url", &server.url, "--client", client.to_str().unwrap()];
    run(with_claude_settings(&sandbox, &mut sandbox.anyclaude(&arguments)))
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

#[test]
fn what_the_check_does_not_honour_is_refused() {
    let refused = |option: &str| Sandbox::new().run(&["check", "tools", option]).refusal();
    insta::assert_snapshot!(refused("--record") + &refused("--base-url=http://127.0.0.1:9"), @"
    exit 2: error: --record: this check keeps no recordings; `anyclaude --record -- -p …` makes them
    exit 2: error: --base-url: in mode mlx no server answers; name another mode with --mode, such as openai
    ");
}

#[test]
fn every_tool_passes_with_a_model_that_knows_them() {
    let ran = check_tools(skilled).exits(0);
    insta::assert_snapshot!(portable(&ran.stdout), @"
    pass  Read [time]
    pass  Write [time]
    pass  Edit [time]
    pass  Bash [time]
    4 of 4 tools work
    ");
}

#[test]
fn what_a_model_did_instead_is_told() {
    let ran = check_tools(|request| match skilled(request) {
        call if call["tool"] == "Edit" || call["tool"] == "Write" => json!({"text": "I would rather not."}),
        call => call,
    });
    insta::assert_snapshot!(portable(&ran.exits(1).stdout), @"
    pass  Read [time]
    FAIL  Write [time]  Write was not called; the answer was: I would rather not.
    FAIL  Edit [time]  Edit was not called; called Read
    pass  Bash [time]
    2 of 4 tools work
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn the_cache_of_a_model_folder_is_measured_in_every_state() {
    let trace = format!("{}/text-only/0001.json", crate::support::TRACES);
    let ran = Sandbox::new().run(&["check", "cache", "--model", crate::support::MODEL, &trace]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let phases: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(phases, ["phase", "cold", "warm", "cached"], "{ran:?}");
    // The times are this machine's; the shares are not.
    let share = |line: &str| line.split(' ').find_map(|word| word.strip_suffix('%')).unwrap().parse::<f64>().unwrap();
    assert_eq!(share(lines[1]), 0.0);
    assert!(share(lines[2]) >= 50.0 && share(lines[3]) >= 80.0, "{ran:?}");
}
