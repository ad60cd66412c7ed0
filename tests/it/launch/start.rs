//! How the client is started, what it gets to see, and what comes of its end.

use std::fs;
use std::net::TcpListener;

use crate::support::TRACES;
use crate::support::output::line_of;
use crate::support::process::{Running, exits_7_on, run};
use crate::support::sandbox::{Sandbox, portable};

/// A server that nobody runs: for clients that send nothing. Whether one of this machine listens is found out before they start.
const NOBODY: &str = "http://server.invalid";

/// A port of this machine on which nobody listens.
const CLOSED: &str = "http://127.0.0.1:9";

/// The arguments that run a shell script as the client.
fn script(script: &str) -> Vec<&str> {
    vec!["--mode", "anthropic", "--base-url", NOBODY, "--client", "sh", "--", "-c", script]
}

#[test]
fn the_clients_exit_code_is_passed_on() {
    for (text, code) in [("exit 0", 0), ("exit 42", 42), ("kill -s TERM $$", 143)] {
        Sandbox::new().run(&script(text)).exits(code);
    }
}

#[test]
fn standard_output_is_the_clients_alone() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&script("echo out"));
    assert_eq!(ran.stdout, "out\n");
    insta::assert_snapshot!(sandbox.portable(&ran.stderr), @"
    ready in [time]: http://server.invalid answers sh at http://127.0.0.1:[port]
    0 requests, 0 prompt tokens (0% from the cache), 0 output tokens
    ");
}

#[test]
fn the_client_is_pointed_at_us_with_a_key_and_the_models_name() {
    let show = "echo ${ANTHROPIC_BASE_URL%:*} $ANTHROPIC_AUTH_TOKEN $CLAUDE_CODE_ATTRIBUTION_HEADER $ANTHROPIC_MODEL \
                $ANTHROPIC_DEFAULT_HAIKU_MODEL";
    let sandbox = Sandbox::new();
    // Only a server of this machine is known to want no key.
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listening.local_addr().unwrap());
    let script = ["--mode", "anthropic", "--base-url", &server, "--client", "sh", "--", "-c", show];
    assert_eq!(sandbox.run(&script).stdout, "http://127.0.0.1 anyclaude-local 0\n");
    let named = [&["--model", "big"], &script[..]].concat();
    assert_eq!(sandbox.run(&named).stdout, "http://127.0.0.1 anyclaude-local 0 big big\n");
    let own = run(sandbox.anyclaude(&script).env("ANTHROPIC_AUTH_TOKEN", "own"));
    assert_eq!(own.stdout, "http://127.0.0.1 own 0\n");
}

#[test]
fn the_reference_mode_leaves_the_client_as_it_is() {
    let show = "echo \"$ANTHROPIC_AUTH_TOKEN|$CLAUDE_CODE_ATTRIBUTION_HEADER|${ANTHROPIC_BASE_URL%:*}\"";
    let ran = Sandbox::new().run(&["--mode", "claude", "--client", "sh", "--", "-c", show]);
    assert_eq!(ran.stdout, "||http://127.0.0.1\n");
    insta::assert_snapshot!(portable(line_of(&ran.stderr, "ready in ")), @"ready in [time]: https://api.anthropic.com answers sh at http://127.0.0.1:[port]");
}

#[test]
fn signals_reach_the_client() {
    let sandbox = Sandbox::new();
    let mut launched = Running::start(&mut sandbox.anyclaude(&script(&exits_7_on("TERM"))));
    launched.prints("ready");
    launched.signal("TERM");
    let ran = launched.end().exits(7);
    insta::assert_snapshot!(line_of(&ran.stderr, "0 requests"), @"0 requests, 0 prompt tokens (0% from the cache), 0 output tokens");
}

#[test]
fn what_is_missing_is_one_line_with_the_way_out() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let on_taken_port = [&["--port", &port], &script("true")[..]].concat();
    let refusals = [
        &["--client", "no/claude"][..],
        &["--mode", "anthropic", "--client", "sh"],
        &["--mode", "anthropic", "--base-url", "localhost:1", "--client", "sh"],
        &["--mode", "openrouter", "--client", "sh"],
        &["--mode", "openrouter", "--model", "m", "--client", "sh"],
        &["--mode", "lmstudio", "--base-url", CLOSED, "--client", "sh"],
        &["--mode", "lmstudio", "--base-url", CLOSED, "--model", "m", "--client", "sh"],
        &["--mode", "openai", "--base-url", CLOSED, "--model", "m", "--client", "sh"],
        &["--mode", "anthropic", "--base-url", CLOSED, "--client", "sh"],
        &["--mode", "mlx", "--base-url", CLOSED, "--client", "sh"],
        &on_taken_port,
    ];
    let refusals: String = refusals.into_iter().map(|arguments| sandbox.run(arguments).refusal()).collect();
    insta::assert_snapshot!(sandbox.portable(&refusals.replace(&port, "PORT")), @"
    exit 2: error: no/claude: command not found; install Claude Code with `npm install -g @anthropic-ai/claude-code`
    exit 2: error: mode anthropic needs the address of a server: give it with --base-url URL, or as base_url in ~/.anyclauderc.json
    exit 2: error: --base-url localhost:1: it must begin with http:// or https://; give a base URL like http://127.0.0.1:[port] with --base-url, or base_url in ~/.anyclauderc.json
    exit 2: error: mode openrouter needs the name of a model: give it with --model NAME, or as model in ~/.anyclauderc.json
    exit 2: error: mode openrouter needs a key: export OPENROUTER_API_KEY=…
    exit 3: error: http://127.0.0.1:9/v1: Connection refused (os error [number]); start LM Studio's server: lms server start
    exit 3: error: http://127.0.0.1:9: Connection refused (os error [number]); start LM Studio's server: lms server start, or name another with --base-url
    exit 3: error: http://127.0.0.1:9: Connection refused (os error [number]); start the server, or name another with --base-url
    exit 3: error: http://127.0.0.1:9: Connection refused (os error [number]); start the server, or name another with --base-url
    exit 2: error: --base-url: in mode mlx no server answers; name another mode with --mode, such as openai
    exit 3: error: port PORT on 127.0.0.1 is in use; stop what listens there, or choose another with --port (0: any free one)
    ");
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_by_its_variable() {
    for (mode, variable) in [("openrouter", "OPENROUTER_API_KEY"), ("openai", "OPENAI_API_KEY")] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.anyclaude(&["--mode", mode, "--model", "m", "--client", "sh"]);
        let refusal = run(command.env(variable, "schlüssel")).refusal();
        insta::allow_duplicates! { insta::assert_snapshot!(refusal.replace(variable, "[variable]"), @"exit 2: error: [variable]: no HTTP header can carry this key; it may have letters without accents, digits and signs, and no space around it") }
        assert!(!refusal.contains("schlüssel"), "{refusal}");
    }
}

#[cfg(feature = "mlx")]
#[test]
fn a_missing_model_is_one_line_with_the_way_out() {
    insta::assert_snapshot!(Sandbox::new().run(&["--model", "absent", "--client", "sh"]).refusal(), @"exit 2: error: absent: no such folder, and no model's name: those are OWNER/NAME, and tiny for the one in this program; name another with --model, or get one with: anyclaude model pull");
}

#[cfg(feature = "mlx")]
#[test]
fn without_a_model_the_one_in_the_program_is_written_to_the_home() {
    let sandbox = Sandbox::new();
    let shown = sandbox.run(&["doctor"]).stdout;
    assert!(shown.contains("model      tiny: qwen3, 2.6 million parameters"), "{shown}");
    let full = Sandbox::new();
    full.write_home(".anyclaude", "no folder");
    let refused = full.run(&["--client", "sh"]).refusal();
    assert!(refused.contains("/tiny: ") && refused.contains("the model in this program is written there"), "{refused}");
}

#[test]
fn flags_of_the_launcher_do_not_go_with_a_command() {
    let ran = Sandbox::new().run(&["--mode", "claude", "doctor"]).exits(2);
    insta::assert_snapshot!(ran.stderr, @"
    error: unexpected argument 'doctor' found

    Usage: anyclaude [OPTIONS] [-- <CLIENT ARGUMENTS>...]
           anyclaude <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn only_the_newest_recordings_are_kept() {
    let sandbox = Sandbox::new();
    for session in ["20250101-000000", "20250102-000000", "20250103-000000"] {
        sandbox.write_home(&format!(".anyclaude/traces/anthropic/{session}/0001.json"), "{}");
    }
    let arguments = [&["--record"], &script("true")[..]].concat();
    run(sandbox.anyclaude(&arguments).env("ANYCLAUDE_KEEP_SESSIONS", "2")).exits(0);
    let left = fs::read_dir(sandbox.home(".anyclaude/traces/anthropic")).unwrap().map(|entry| entry.unwrap().file_name());
    // This run's own session was the other one; it recorded nothing.
    assert_eq!(left.collect::<Vec<_>>(), ["20250103-000000"]);
}

#[test]
fn the_newest_recording_is_shown_without_a_path() {
    let sandbox = Sandbox::new();
    let shown = || sandbox.run(&["trace", "show", "--last"]);
    insta::assert_snapshot!(sandbox.portable(&shown().refusal()), @"exit 2: error: traces: no such file or folder; `anyclaude record -- claude` makes traces in traces/, `anyclaude --record` in ~/.anyclaude/traces");
    let trace = fs::read(format!("{TRACES}/read-file/0001.json")).unwrap();
    sandbox.write_home(".anyclaude/traces/mlx/20250101-000000/0001.json", trace);
    let text = shown().stdout;
    insta::assert_snapshot!(sandbox.portable(text.lines().next().unwrap()), @"[home]/.anyclaude/traces/mlx/[session]/0001.json");
    assert!(text.lines().any(|line| line == "answer"), "{text}");
}

/// The launcher's line about the warm-up, with a recording of an earlier run, on the embedded model with this context.
#[cfg(feature = "mlx")]
fn warm_up_line(context: usize) -> String {
    use crate::support::sandbox::repository;

    let sandbox = Sandbox::new();
    let tiny = repository("fixtures/models/tiny");
    sandbox.write_home(
        ".anyclaude/traces/mlx/20250101-000000/0001.json",
        fs::read(repository("traces/read-file/0001.json")).unwrap(),
    );
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(tiny.join("config.json")).unwrap()).unwrap();
    config["max_position_embeddings"] = context.into();
    sandbox.write("model/config.json", config.to_string());
    for name in ["generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::os::unix::fs::symlink(tiny.join(name), sandbox.path("model").join(name)).unwrap();
    }
    let ran = sandbox.run(&["--model", "model", "--client", "sh", "--", "-c", "true"]).exits(0);
    let after = ran.stderr.lines().skip_while(|line| !line.starts_with("warming: ")).nth(1);
    after.unwrap_or_else(|| panic!("{}", ran.stderr)).to_owned()
}

#[cfg(feature = "mlx")]
#[test]
fn a_warm_up_is_only_called_done_when_it_is() {
    let done = warm_up_line(65_536);
    insta::assert_snapshot!(portable(&done), @"warmed in [time]");
    let failed = warm_up_line(100);
    insta::assert_snapshot!(crate::support::output::uncounted(&failed), @"the warm-up failed: invalid_request_error: prompt is too long: N tokens > 99 maximum");
}
