//! `anyclaude doctor`, as its user runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

#[cfg(feature = "mlx")]
use crate::support::output::{line_of, uncounted};
use crate::support::process::{Ran, Running, run};
use crate::support::sandbox::Sandbox;

/// Runs doctor on the sandbox's model, with only the sandbox's `bin` on PATH.
fn doctor(sandbox: &Sandbox) -> Ran {
    run(sandbox.anyclaude(&["doctor", "--model", "model"]).env("PATH", sandbox.path("bin")))
}

/// A sandbox with a model.
fn with_model() -> Sandbox {
    let sandbox = Sandbox::new();
    let header = r#"{"w":{"dtype":"F32","shape":[1000,2000],"data_offsets":[0,8000000]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header.bytes());
    weights.extend(vec![0; 8_000_000]);
    sandbox.write("model/model.safetensors", weights);
    let config = json!({
        "model_type": "qwen3", "vocab_size": 4096, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "max_position_embeddings": 4096, "dtype": "float32",
    });
    sandbox.write("model/config.json", config.to_string());
    for file in ["tokenizer.json", "tokenizer_config.json", "template.jinja"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny").join(file), sandbox.path("model").join(file))
            .unwrap();
    }
    sandbox
}

/// Puts a client of this script on PATH.
fn add_client(sandbox: &Sandbox, script: &str) {
    sandbox.write("bin/claude", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(sandbox.path("bin/claude"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The lines about the model and the client, which are the same on every machine.
fn about(ran: &Ran) -> &str {
    let from = ran.stdout.find("  model  ").and_then(|at| ran.stdout[..at].rfind('\n')).unwrap() + 1;
    &ran.stdout[from..]
}

#[test]
fn doctor_exits_0_when_all_is_there() {
    let sandbox = with_model();
    add_client(&sandbox, "echo '2.1.331 (Claude Code)'");
    let ran = doctor(&sandbox).exits(0);
    insta::assert_snapshot!(about(&ran), @r"
    ok       model      model: qwen3, 2.0 million parameters, 9 MB of weights in 1 file(s), tokenizer of 4096 entries
    ok       memory     takes about 8.00 MB of memory, and 1.02 kB for each token: its context of 4,096 tokens fits here
    ok       client     2.1.331 (Claude Code)
    ");
    assert_eq!(ran.stdout.lines().next().unwrap(), format!("ok       anyclaude  {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn doctor_exits_0_without_a_client_and_says_how_to_get_one() {
    insta::assert_snapshot!(about(&doctor(&with_model()).exits(0)), @r"
    ok       model      model: qwen3, 2.0 million parameters, 9 MB of weights in 1 file(s), tokenizer of 4096 entries
    ok       memory     takes about 8.00 MB of memory, and 1.02 kB for each token: its context of 4,096 tokens fits here
    lacking  client     no `claude` on PATH
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[test]
fn a_client_that_fails_is_told_with_its_words() {
    let sandbox = with_model();
    add_client(&sandbox, "echo 'no native binary' >&2; exit 1");
    insta::assert_snapshot!(about(&doctor(&sandbox)), @"
    ok       model      model: qwen3, 2.0 million parameters, 9 MB of weights in 1 file(s), tokenizer of 4096 entries
    ok       memory     takes about 8.00 MB of memory, and 1.02 kB for each token: its context of 4,096 tokens fits here
    lacking  client     `claude --version` failed: no native binary
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn doctor_exits_3_and_names_the_file_that_a_model_folder_lacks() {
    let sandbox = with_model();
    fs::remove_file(sandbox.path("model/tokenizer.json")).unwrap();
    insta::assert_snapshot!(about(&doctor(&sandbox).exits(3)), @r"
    missing  model      model/tokenizer.json is missing: the model folder is incomplete, get it again
                        name another with --model; tiny is in this program
    lacking  client     no `claude` on PATH
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn doctor_exits_3_for_a_chat_template_that_cannot_be_loaded() {
    let sandbox = with_model();
    sandbox.write("model/chat_template.jinja", "{% for message in %}");
    insta::assert_snapshot!(about(&doctor(&sandbox).exits(3)), @"
    missing  model      model/chat_template.jinja: syntax error: unexpected end of block (in chat template:1)
                        name another with --model; tiny is in this program
    ok       memory     takes about 8.00 MB of memory, and 1.02 kB for each token: its context of 4,096 tokens fits here
    lacking  client     no `claude` on PATH
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn doctor_tells_the_mlx_it_runs_on() {
    let text = doctor(&Sandbox::new()).stdout;
    let line = text.lines().find(|line| line.contains("  MLX  ")).unwrap();
    assert!(line.starts_with("ok ") && line.contains("PU, ") && line.contains("GFLOP/s"), "{line}");
    if cfg!(target_os = "linux") {
        let version = regex::Regex::new(r"\b\d+(\.\d+)+\b").unwrap();
        let machine = [line, line_of(&text, "ok       BLAS")].join("\n");
        insta::assert_snapshot!(version.replace_all(&uncounted(&machine), "[version]"), @"
        ok       MLX        [version] on the CPU, N GFLOP/s in a 1024x1024 f32 product
        ok       BLAS       OpenBLAS [version]
        ");
    }
}

/// A reader that has seen enough, as in `anyclaude doctor | head -1`.
#[test]
fn a_reader_that_left_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let sandbox = Sandbox::new();
    let mut command = sandbox.anyclaude(&["doctor", "--model", "."]);
    let ran = Running::start_unheard(command.stdout(writer).stderr(std::process::Stdio::piped())).end();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(3), ""));
}

#[cfg(feature = "mlx")]
#[test]
fn a_report_has_the_machine_the_findings_and_a_bench() {
    let sandbox = Sandbox::new();
    let doctor = |file: &str| {
        let mut doctor = sandbox.anyclaude(&["doctor", "--model", crate::support::MODEL, "--report", file]);
        doctor.env("PATH", sandbox.path("bin"));
        doctor
    };
    let ran = run(&mut doctor("report.md")).exits(0);
    assert!(ran.stdout.ends_with("report written to report.md\n"), "{}", ran.stdout);
    let page = fs::read_to_string(sandbox.path("report.md")).unwrap();
    for part in [
        "# anyclaude doctor",
        "\n    cores ",
        "## Findings",
        "\n    ok       MLX ",
        "## Bench",
        "\n    anyclaude ",
        "mlx-lm       not measured: python3:",
    ] {
        assert!(page.contains(part), "no {part:?} in\n{page}");
    }
    let ran = run(&mut doctor("/dev/null/report.md")).exits(2);
    assert!(ran.stderr.contains("cannot write /dev/null/report.md"), "{}", ran.stderr);
}
