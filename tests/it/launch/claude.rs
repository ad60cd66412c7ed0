//! The real Claude Code client, launched by the built binary.

use anyclaude::trace::{self, Trace};
use serde_json::{Value, json};

use super::sandbox;
use crate::support::clients::{launch_claude, launching_claude};
use crate::support::output::{line_of, uncounted};
use crate::support::process::run;
use crate::support::sandbox::Sandbox;
use crate::support::scripted::calling;

fn read_hello(sandbox: &Sandbox) -> Value {
    json!({"tool": "Read", "input": {"file_path": sandbox.path("hello.txt")}})
}

/// The Messages traces in the home folder's place for a mode.
fn traces(sandbox: &Sandbox, mode: &str) -> Vec<Trace> {
    let files = trace::find(&[sandbox.home(".anyclaude/traces").join(mode)]).unwrap();
    let traces = files.iter().map(|file| trace::read(file).unwrap());
    traces.filter(|trace| trace.request.path.starts_with("/v1/messages?")).collect()
}

#[test]
fn mode_anthropic_runs_several_turns_with_tools_and_records_them() {
    let sandbox = sandbox();
    let server = calling(vec![
        read_hello(&sandbox),
        json!({"tool": "Write", "input": {"file_path": sandbox.path("new.txt"), "content": "written\n"}}),
        json!({"tool": "Bash", "input": {"command": "echo 6*7=$((6*7))", "description": "Multiplies"}}),
    ]);
    let flags = ["--mode", "anthropic", "--base-url", &server.url, "--record"];
    let client = ["-p", "Read hello.txt", "--allowedTools", "Read,Write,Bash", "--permission-mode", "acceptEdits"];
    let ran = launch_claude(&sandbox, &flags, &client);

    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    assert_eq!(sandbox.read("new.txt"), "written\n");
    let recorded = traces(&sandbox, "anthropic");
    assert!(recorded.len() >= 4 && recorded.iter().all(|trace| trace.mode == "anthropic"), "{}", recorded.len());
    assert!(recorded.iter().any(|trace| trace.request.body.to_string().contains("swordfish")));
    let said = &ran.stderr;
    let summary = format!("{} requests, {} prompt tokens (71% from the cache)", recorded.len(), 42 * recorded.len());
    assert!(said.contains(&summary), "{said}");
    insta::assert_snapshot!(sandbox.portable(line_of(said, "recorded ")).replace(&recorded.len().to_string(), "N"), @"recorded N exchanges to [home]/.anyclaude/traces/anthropic/[session]");
    assert!(!recorded[0].request.body["system"].to_string().contains("x-anthropic-billing-header"));
}

#[test]
fn mode_claude_goes_where_the_client_alone_would_go_and_records_the_reference() {
    let sandbox = sandbox();
    let server = calling(vec![read_hello(&sandbox)]);
    let client = ["-p", "Read hello.txt", "--allowedTools", "Read"];
    let mut command = launching_claude(&sandbox, &["--mode", "claude", "--record"], &client);
    let ran = run(command.env("ANTHROPIC_BASE_URL", &server.url).env("ANTHROPIC_API_KEY", "own"));

    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    let recorded = traces(&sandbox, "claude");
    assert!(recorded.len() >= 2 && recorded.iter().all(|trace| trace.mode == "claude"), "{}", recorded.len());
    assert!(recorded.iter().any(|trace| trace.request.body.to_string().contains("swordfish")));
}

#[test]
fn a_prompt_is_trimmed_on_its_way_to_a_server_elsewhere_too() {
    let sandbox = sandbox();
    let server = calling(vec![read_hello(&sandbox)]);
    let flags = ["--mode", "anthropic", "--base-url", &server.url, "--record", "--tools-only", "Read,Edit", "--compact-tools"];
    let ran = launch_claude(&sandbox, &flags, &["-p", "Read hello.txt", "--allowedTools", "Read"]);

    assert_eq!(ran.stdout.trim(), "All done.", "{}", ran.stderr);
    let recorded = traces(&sandbox, "anthropic");
    let sent = |trace: &Trace| trace.request.body["tools"].as_array().map_or(0, Vec::len);
    let most = recorded.iter().map(sent).max().unwrap();
    assert!(most > 10, "{most}");
    let given = server.backend.requests.all();
    assert!(given.iter().all(|request| request.tools.len() <= 2) && given.iter().any(|request| request.tools.len() == 2));
    let told = line_of(&ran.stderr, "prompt trimmed: ").replace(&format!(" {most} tools"), " N tools");
    insta::assert_snapshot!(uncounted(&told), @"prompt trimmed: N tools to 2, N tokens to N (N% fewer)");
}

#[test]
fn the_debug_levels_tell_more_and_more_and_never_a_secret() {
    let server = calling(vec![]);
    for (level, told) in [("0", [false, false, false]), ("1", [true, false, false]), ("2", [true, true, false]), ("3", [true; 3])]
    {
        let sandbox = Sandbox::new();
        let mut command = launching_claude(&sandbox, &["--mode", "anthropic", "--base-url", &server.url], &["-p", "hello there"]);
        let secret = ("ANTHROPIC_API_KEY", "sk-ant-api03-very-secret-key");
        let said = run(command.env("ANYCLAUDE_DEBUG", level).envs([secret])).stderr;
        let tells = ["POST /v1/messages", "request headers", "request body"].map(|text| said.contains(text));
        assert_eq!(tells, told, "{level}: {said}");
        assert!(!said.contains("very-secret-key"), "{said}");
    }
}

#[cfg(feature = "mlx")]
#[test]
fn in_mode_mlx_a_file_is_read_and_reported() {
    let sandbox = Sandbox::new();
    sandbox.write("hello.txt", "Hello from the file\n");
    let flags = ["--mode", "mlx", "--model", crate::support::MODEL];
    let client = ["-p", "Read hello.txt and tell me what it says", "--allowedTools", "Read"];
    let ran = launch_claude(&sandbox, &[&flags[..], &["--record"]].concat(), &client);

    assert!(ran.stdout.contains("Hello from the file"), "{ran:?}");
    let recorded = traces(&sandbox, "mlx");
    assert!(recorded.iter().any(|trace| trace.response.status == 200 && trace.response.body["stop_reason"].is_string()));
    // How many tokens there are hangs on the client's version, the date and the folder; whether weights grow, on the machine.
    let words = |said: &str| {
        let said = sandbox.portable(&said.replace(crate::support::clients::claude().to_str().unwrap(), "[client]"));
        let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("weights take ")).collect();
        let said =
            regex::Regex::new(r"\d+(%| requests| prompt| output)").unwrap().replace_all(&said.join("\n"), "N$1").into_owned();
        regex::Regex::new(r"\d{4}-\d\d-\d\dT\S+Z").unwrap().replace_all(&said, "[now]").into_owned()
    };
    insta::assert_snapshot!(words(&ran.stderr), @"
    loading [repository]/fixtures/models/tiny
    loaded in [time]
    ready in [time]: mlx tiny answers [client] at http://127.0.0.1:[port]
    N requests, N prompt tokens (N% from the cache), N output tokens, about [time] saved
    recorded 2 exchanges to [home]/.anyclaude/traces/mlx/[session]
    ");

    // The next run knows what its first request will begin with.
    let said = launch_claude(&sandbox, &flags, &client).stderr;
    insta::assert_snapshot!(words(&said), @"
    loading [repository]/fixtures/models/tiny
    loaded in [time]
    warming: the tools and system prompt of the last recording
    warmed in [time]
    ready in [time]: mlx tiny answers [client] at http://127.0.0.1:[port]
    N requests, N prompt tokens (N% from the cache), N output tokens, about [time] saved
    ");
    assert!(!said.contains("(0% from the cache)"), "{said}");
}

#[cfg(feature = "mlx")]
#[test]
fn a_trimmed_prompt_is_what_the_model_gets_and_not_what_is_recorded() {
    let sandbox = Sandbox::new();
    let flags = ["--model", crate::support::MODEL, "--record", "--tools-only", "Read,Edit,Raed", "--compact-tools"];
    let said = launch_claude(&sandbox, &flags, &["-p", "Read hello.txt", "--max-turns", "1"]).stderr;

    let recorded = traces(&sandbox, "mlx");
    let main = recorded.iter().find(|trace| !trace.request.body["tools"].as_array().unwrap_or(&vec![]).is_empty()).unwrap();
    let tools = main.request.body["tools"].as_array().unwrap().len();
    assert!(tools > 10, "{tools}");
    let line = said.lines().find(|line| line.starts_with("prompt trimmed: ")).unwrap_or_else(|| panic!("{said}"));
    insta::assert_snapshot!(uncounted(&line.replace(&format!(" {tools} tools"), " N tools")), @"prompt trimmed: N tools to 2, N tokens to N (N% fewer)");
    insta::assert_snapshot!(line_of(&said, "the client has no tool"), @"the client has no tool named Raed");
    let usage = &main.response.body["usage"];
    let prompt: u64 = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
        .map(|f| usage[f].as_u64().unwrap_or(0))
        .iter()
        .sum();
    let trimmed: u64 = line.split(" tokens to ").nth(1).unwrap().split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert_eq!(prompt, trimmed, "{line}");
}
