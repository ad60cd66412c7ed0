//! `anyclaude doctor`, as its user runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs doctor on this model folder with only this folder on PATH.
fn doctor(model: &Path, path: &Path) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("anyclaude"));
    command.args(["doctor", "--model"]).arg(model).env("PATH", path).env("NO_COLOR", "1").output().unwrap()
}

fn model_folder(at: &Path) {
    let header = r#"{"w":{"dtype":"F32","shape":[1000,2000],"data_offsets":[0,8000000]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header.bytes());
    weights.extend(vec![0; 8_000_000]);
    fs::write(at.join("model.safetensors"), weights).unwrap();
    fs::write(at.join("config.json"), r#"{"model_type":"qwen3"}"#).unwrap();
    fs::write(at.join("tokenizer.json"), r#"{"model":{"vocab":{"a":0}},"added_tokens":[]}"#).unwrap();
    fs::write(at.join("tokenizer_config.json"), "{}").unwrap();
}

fn claude(at: &Path, script: &str) {
    let path = at.join("claude");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The lines about the model and the client, which are the same on every machine.
fn about(output: &Output, folder: &Path) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap().replace(folder.to_str().unwrap(), "DIR");
    let from = text.find("  model  ").and_then(|at| text[..at].rfind('\n')).unwrap() + 1;
    text[from..].to_owned()
}

#[test]
fn doctor_exits_0_when_all_is_there() {
    let (model, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model_folder(model.path());
    claude(path.path(), "echo '2.1.331 (Claude Code)'");
    let output = doctor(model.path(), path.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    insta::assert_snapshot!(about(&output, model.path()), @r"
    ok       model      DIR: qwen3, 2.0 million parameters, 9 MB of weights in 1 file(s), tokenizer of 1 entries
    ok       client     2.1.331 (Claude Code)
    ");
    let first = String::from_utf8_lossy(&output.stdout).lines().next().unwrap().to_owned();
    assert_eq!(first, format!("ok       anyclaude  {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn doctor_exits_0_without_a_client_and_says_how_to_get_one() {
    let (model, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model_folder(model.path());
    let output = doctor(model.path(), path.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    insta::assert_snapshot!(about(&output, model.path()), @r"
    ok       model      DIR: qwen3, 2.0 million parameters, 9 MB of weights in 1 file(s), tokenizer of 1 entries
    lacking  client     no `claude` on PATH
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[test]
fn a_client_that_fails_is_told_with_its_words() {
    let (model, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model_folder(model.path());
    claude(path.path(), "echo 'no native binary' >&2; exit 1");
    let text = about(&doctor(model.path(), path.path()), model.path());
    assert!(text.contains("lacking  client     `claude --version` failed: no native binary"), "{text}");
}

#[cfg(feature = "mlx")]
#[test]
fn doctor_exits_3_and_names_the_file_that_a_model_folder_lacks() {
    let (model, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model_folder(model.path());
    fs::remove_file(model.path().join("tokenizer.json")).unwrap();
    let output = doctor(model.path(), path.path());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    insta::assert_snapshot!(about(&output, model.path()), @r"
    missing  model      DIR/tokenizer.json is missing: the model folder is incomplete, get it again
                        name one with --model DIR; the repository has fixtures/models/tiny
    lacking  client     no `claude` on PATH
                        install it: npm install -g @anthropic-ai/claude-code
    ");
}

#[cfg(feature = "mlx")]
#[test]
fn doctor_tells_the_mlx_it_runs_on() {
    let nowhere = Path::new("/nowhere");
    let text = String::from_utf8(doctor(nowhere, nowhere).stdout).unwrap();
    let line = text.lines().find(|line| line.contains("  MLX  ")).unwrap();
    assert!(line.starts_with("ok ") && line.contains("PU, ") && line.contains("GFLOP/s"), "{line}");
    if cfg!(target_os = "linux") {
        assert!(line.contains("MLX        0."), "{line}");
        assert!(text.contains("ok       BLAS       OpenBLAS"), "{text}");
    }
}

/// A reader that has seen enough, as in `anyclaude doctor | head -1`.
#[test]
fn a_reader_that_left_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
    let output = command.args(["doctor", "--model"]).arg(folder.path()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(3), ""));
}
