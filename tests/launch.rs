//! `anyclaude` without a subcommand: how the client is started, what it gets to see, and what comes of its end.

#[path = "support/launched.rs"]
mod launched;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use launched::{Place, stderr, stdout};

/// A server that nobody runs: for clients that send nothing.
const NOBODY: &str = "http://127.0.0.1:9";

/// The arguments that run a shell script as the client.
fn script(script: &str) -> Vec<&str> {
    vec!["--mode", "anthropic", "--base-url", NOBODY, "--client", "sh", "--", "-c", script]
}

/// The exit code and the one line on stderr.
fn refusal(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    let line = stderr(&output);
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    format!("exit {}: {}", output.status.code().unwrap(), console::strip_ansi_codes(line.trim_end()))
}

#[test]
fn the_clients_exit_code_is_passed_on() {
    for (text, code) in [("exit 0", 0), ("exit 42", 42), ("kill -s TERM $$", 143)] {
        assert_eq!(Place::new().run(&script(text)).status.code(), Some(code), "{text}");
    }
}

#[test]
fn standard_output_is_the_clients_alone() {
    let output = Place::new().run(&script("echo out"));
    assert_eq!(stdout(&output), "out\n");
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("ready in ") && lines[0].contains(" s: http://127.0.0.1:9 answers sh at http://127.0.0.1:"),
        "{said}"
    );
    assert_eq!(lines[1..], ["0 requests, 0 prompt tokens (0% from the cache), 0 output tokens"]);
}

#[test]
fn the_client_is_pointed_at_us_with_a_key_and_the_models_name() {
    let show = "echo ${ANTHROPIC_BASE_URL%:*} $ANTHROPIC_AUTH_TOKEN $CLAUDE_CODE_ATTRIBUTION_HEADER $ANTHROPIC_MODEL \
                $ANTHROPIC_DEFAULT_HAIKU_MODEL";
    let place = Place::new();
    assert_eq!(stdout(&place.run(&script(show))), "http://127.0.0.1 anyclaude-local 0\n");
    let named = [&["--model", "big"], &script(show)[..]].concat();
    assert_eq!(stdout(&place.run(&named)), "http://127.0.0.1 anyclaude-local 0 big big\n");
    let own = place.anyclaude(&script(show)).env("ANTHROPIC_AUTH_TOKEN", "own").output().unwrap();
    assert_eq!(stdout(&own), "http://127.0.0.1 own 0\n");
}

#[test]
fn the_reference_mode_leaves_the_client_as_it_is() {
    let show = "echo \"$ANTHROPIC_AUTH_TOKEN|$CLAUDE_CODE_ATTRIBUTION_HEADER|${ANTHROPIC_BASE_URL%:*}\"";
    let output = Place::new().run(&["--mode", "claude", "--client", "sh", "--", "-c", show]);
    assert_eq!(stdout(&output), "||http://127.0.0.1\n");
    assert!(stderr(&output).contains("https://api.anthropic.com answers sh at "), "{}", stderr(&output));
}

#[test]
fn signals_reach_the_client() {
    let place = Place::new();
    let mut command = place.anyclaude(&script("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"));
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert!(Command::new("kill").args(["-s", "TERM", &process.id().to_string()]).status().unwrap().success());
    assert_eq!(process.wait().unwrap().code(), Some(7));
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.ends_with("0 requests, 0 prompt tokens (0% from the cache), 0 output tokens\n"), "{said}");
}

#[test]
fn what_is_missing_is_one_line_with_the_way_out() {
    let place = Place::new();
    assert_eq!(
        refusal(&place, &["--client", "no/claude"]),
        "exit 2: error: no/claude: command not found; install Claude Code with `npm install -g @anthropic-ai/claude-code`"
    );
    assert_eq!(
        refusal(&place, &["--mode", "anthropic", "--client", "sh"]),
        "exit 2: error: mode anthropic needs the address of a server: give it with --base-url URL, or as base_url in .anyclauderc.json"
    );
    assert_eq!(
        refusal(&place, &["--mode", "anthropic", "--base-url", "localhost:1", "--client", "sh"]),
        "exit 2: error: --base-url localhost:1: it must begin with http:// or https://; give a base URL like http://127.0.0.1:8081 \
         with --base-url, or base_url in .anyclauderc.json"
    );
    assert_eq!(
        refusal(&place, &["--mode", "openrouter", "--client", "sh"]),
        "exit 2: error: mode openrouter needs the name of a model: give it with --model NAME, or as model in .anyclauderc.json"
    );
    assert_eq!(
        refusal(&place, &["--mode", "openrouter", "--model", "m", "--client", "sh"]),
        "exit 2: error: mode openrouter needs a key: export OPENROUTER_API_KEY=…"
    );
    assert_eq!(
        refusal(&place, &["--mode", "lmstudio", "--base-url", NOBODY, "--client", "sh"]),
        "exit 3: error: http://127.0.0.1:9/v1: Connection refused (os error 111); start LM Studio's server: lms server start"
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_eq!(
        refusal(&place, &[&["--port", &port], &script("true")[..]].concat()),
        format!(
            "exit 3: error: port {port} on 127.0.0.1 is in use; stop what listens there, or choose another with --port (0: any free one)"
        )
    );
}

#[cfg(feature = "mlx")]
#[test]
fn a_missing_model_is_one_line_with_the_way_out() {
    assert_eq!(
        refusal(&Place::new(), &["--client", "sh"]),
        "exit 2: error: fixtures/models/tiny: no such folder: a model folder in Hugging Face layout is needed; name another with \
         --model, or get one with: anyclaude model pull"
    );
}

/// What the launcher says of the warm-up, with a recording of an earlier run, on the committed model with this context.
#[cfg(feature = "mlx")]
fn warm_up_line(context: usize) -> String {
    let place = Place::new();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (tiny, model) = (repository.join("fixtures/models/tiny"), place.path("model"));
    let recordings = place.home.path().join(".anyclaude/traces/mlx/20250101-000000");
    std::fs::create_dir_all(&recordings).unwrap();
    std::fs::create_dir(&model).unwrap();
    std::fs::copy(repository.join("traces/read-file/0001.json"), recordings.join("0001.json")).unwrap();
    for name in ["generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::os::unix::fs::symlink(tiny.join(name), model.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(tiny.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["max_position_embeddings"] = context.into();
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    let output = place.run(&["--model", "model", "--client", "sh", "--", "-c", "true"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    let after = said.lines().skip_while(|line| !line.starts_with("warming: ")).nth(1);
    after.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[cfg(feature = "mlx")]
#[test]
fn a_warm_up_is_only_called_done_when_it_is() {
    let done = warm_up_line(65_536);
    assert!(done.starts_with("warmed in "), "{done}");
    let failed = warm_up_line(100);
    assert!(failed.starts_with("the warm-up failed: invalid_request_error: prompt is too long: "), "{failed}");
}

#[test]
fn flags_of_the_launcher_do_not_go_with_a_command() {
    let output = Place::new().run(&["--mode", "claude", "doctor"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("unexpected argument 'doctor'"), "{}", stderr(&output));
}

#[test]
fn only_the_newest_recordings_are_kept() {
    let place = Place::new();
    let folder = place.home.path().join(".anyclaude/traces/anthropic");
    for session in ["20250101-000000", "20250102-000000", "20250103-000000"] {
        std::fs::create_dir_all(folder.join(session)).unwrap();
        std::fs::write(folder.join(session).join("0001.json"), "{}").unwrap();
    }
    let arguments = [&["--record"], &script("true")[..]].concat();
    let output = place.anyclaude(&arguments).env("ANYCLAUDE_KEEP_SESSIONS", "2").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // This run's own session was the other one; it recorded nothing.
    assert_eq!(left, ["20250103-000000"]);
}

#[test]
fn the_newest_recording_is_shown_without_a_path() {
    let place = Place::new();
    let shown = |arguments: &[&str]| place.run(arguments);
    assert!(stderr(&shown(&["trace", "show", "--last"])).contains("anyclaude record"));
    let folder = place.home.path().join(".anyclaude/traces/mlx/20250101-000000");
    std::fs::create_dir_all(&folder).unwrap();
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/traces/read-file/0001.json");
    std::fs::copy(repository, folder.join("0001.json")).unwrap();
    let text = stdout(&shown(&["trace", "show", "--last"]));
    assert!(text.contains("20250101-000000/0001.json") && text.contains("answer"), "{text}");
}
