//! Damaged files of every kind through the built binary: exit 2 or 3, and one line that names the file.

use std::fs;

use crate::support::process::Ran;
use crate::support::recorder::files;
use crate::support::sandbox::{Sandbox, repository};

/// Copies a folder of this repository into the project.
fn copy(sandbox: &Sandbox, folder: &str) {
    for file in files(&repository(folder)) {
        let relative = file.strip_prefix(repository("")).unwrap().to_str().unwrap();
        sandbox.write(relative, fs::read(&file).unwrap());
    }
}

/// What commands come to that read a file which is cut to a half, and to nothing.
fn refusals(sandbox: &Sandbox, file: &str, arguments: &[&str]) {
    let whole = fs::read(sandbox.path(file)).unwrap();
    for part in [&whole[..whole.len() / 2], b""] {
        sandbox.write(file, part);
        let Ran { code, stderr, stdout } = sandbox.run(arguments);
        assert!(matches!(code, Some(2 | 3)), "{arguments:?} exits {code:?}: {stdout}{stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        let name = file.rsplit('/').next().unwrap();
        assert!(matches!(errors[..], [line] if line.contains(name)), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    sandbox.write(file, whole);
}

#[test]
fn traces_snapshots_configurations_and_baselines() {
    let sandbox = Sandbox::new();
    copy(&sandbox, "traces/read-file");
    copy(&sandbox, "snapshots");
    let upstream = crate::support::listen::nobody();
    let replay = ["replay", "traces", "--backend", &upstream, "--phases", "cold"];
    refusals(&sandbox, "traces/read-file/0001.json", &replay);
    refusals(&sandbox, "traces/read-file/0001.json", &["trace", "show", "traces/read-file/0001.json"]);
    refusals(&sandbox, "snapshots/read-file__0001.snap", &replay);
    sandbox.write("base.json", "{\"version\": 1}");
    refusals(&sandbox, "base.json", &[&replay[..], &["--baseline", "base.json"]].concat());
    sandbox.write(".anyclauderc.json", "{\"port\": 8081}");
    refusals(&sandbox, ".anyclauderc.json", &["config", "show"]);
}

#[test]
#[cfg(feature = "mlx")]
fn model_folders() {
    let sandbox = Sandbox::new();
    copy(&sandbox, "fixtures/models/tiny");
    let folder = "fixtures/models/tiny";
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        refusals(&sandbox, &format!("{folder}/{file}"), &["serve", "--model", folder, "--port", "0"]);
    }
}
