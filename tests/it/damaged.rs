//! Damaged files of every kind through the built binary: exit 2 or 3, and one line that names the file.

use std::fs;

use self::variants::damaged;
use crate::support::demo::session;
use crate::support::process::Ran;
use crate::support::recorder::files;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, repository};

#[path = "../../src/damage/variants.rs"]
mod variants;

/// Of the damaged variants of a file, every one of so many goes through the program: five cut, five with wrong bits.
const STEP: usize = 31;

/// How many of them are cut.
const CUT: usize = 5;

/// Copies a folder of this repository into the project.
fn copy(sandbox: &Sandbox, folder: &str) {
    for file in files(&repository(folder)) {
        let relative = file.strip_prefix(repository("")).unwrap().to_str().unwrap();
        sandbox.write(relative, fs::read(&file).unwrap());
    }
}

/// The errors of a command, which must be none, or one line for each file that it could not read.
fn errors(ran: &Ran) -> Vec<&str> {
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran.stderr.lines().filter(|line| line.starts_with("error: ")).collect()
}

/// Damages a file in all ways and runs a command that reads it. Each time it is refused in one line that names it, or the damage
/// is within a text, where nothing can find it; at least `least` times it is refused.
fn refusals(sandbox: &Sandbox, file: &str, least: usize, arguments: &[&str]) {
    let whole = fs::read(sandbox.path(file)).unwrap();
    let undamaged = sandbox.run(arguments);
    assert!(!errors(&undamaged).iter().any(|line| line.contains(file)), "{}", undamaged.stderr);
    let name = file.rsplit('/').next().unwrap();
    let mut refused = 0;
    for variant in damaged(&whole).into_iter().step_by(STEP) {
        sandbox.write(file, variant);
        let ran = sandbox.run(arguments);
        match errors(&ran)[..] {
            [line] if line.contains(name) => {
                assert!(matches!(ran.code, Some(2 | 3)), "{arguments:?} exits {:?}: {line}", ran.code);
                refused += 1;
            }
            ref other => {
                let expected = errors(&undamaged);
                assert!(*other == expected[..], "{arguments:?} with a damaged {name}: {other:?}, not {expected:?}");
            }
        }
    }
    sandbox.write(file, whole);
    assert!(refused >= least, "{arguments:?}: only {refused} damaged variants of {name} were refused");
}

#[test]
fn traces_snapshots_configurations_and_figures() {
    let sandbox = Sandbox::new();
    copy(&sandbox, "traces/read-file");
    copy(&sandbox, "snapshots");
    let upstream = crate::support::listen::nobody();
    let replay = ["replay", "traces", "--backend", &upstream, "--phases", "cold"];
    refusals(&sandbox, "traces/read-file/0001.json", CUT, &replay);
    refusals(&sandbox, "traces/read-file/0001.json", CUT, &["trace", "show", "traces/read-file/0001.json"]);
    refusals(&sandbox, "snapshots/read-file__0001.snap", CUT, &replay);
    sandbox.write(".anyclauderc.json", "{\"port\": 8081, \"redact\": {\"patterns\": [\"ACME-[0-9]+\"]}}");
    refusals(&sandbox, ".anyclauderc.json", CUT, &["config", "show"]);
    sandbox.write("anyclaude.toml", "port = 8082\n\n[redact]\npatterns = ['ACME-[0-9]+']\n");
    refusals(&sandbox, "anyclaude.toml", 3, &["config", "show"]);
}

#[test]
fn reports() {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(Flaw::None));
    let replay = ["replay", "traces", "--backend", &server.url, "--phases", "cold"];
    sandbox.run(&[&replay[..], &["--json", "base.json"]].concat());
    refusals(&sandbox, "base.json", CUT, &[&replay[..], &["--baseline", "base.json"]].concat());
    sandbox.run(&["load", "--backend", &server.url, "--concurrency", "1", "--requests", "3", "--json", "load.json"]).exits(0);
    refusals(&sandbox, "load.json", CUT, &["report", "merge", "load.json"]);
}

/// A partial file is cut wherever its recorder was killed: what came before is recovered.
#[test]
fn partial_files() {
    let sandbox = Sandbox::new();
    copy(&sandbox, "traces/read-file");
    let trace = anyclaude::trace::read(&sandbox.path("traces/read-file/0001.json")).unwrap();
    let opening = serde_json::json!({"request": {"version": trace.version, "id": trace.id, "session": trace.session, "seq": trace.seq,
        "recorded_at": trace.recorded_at, "client": trace.client, "mode": trace.mode, "request": trace.request}});
    let events = trace.response.events.iter().map(|event| serde_json::json!({ "event": event }));
    let lines: String = std::iter::once(opening).chain(events).map(|line| format!("{line}\n")).collect();
    let partial = "traces/read-file/0009.json.partial";
    let (mut recovered, mut refused) = (0, 0);
    for variant in damaged(lines.as_bytes()).into_iter().step_by(STEP) {
        sandbox.write(partial, variant);
        let ran = sandbox.run(&["trace", "recover"]);
        match errors(&ran)[..] {
            [] => {
                assert_eq!((ran.code, sandbox.path(partial).exists()), (Some(0), false));
                recovered += 1;
            }
            [line] => {
                assert!(ran.code == Some(2) && line.contains("0009.json.partial"), "{:?}: {line}", ran.code);
                // What cannot be read stays for people to look at.
                assert!(sandbox.path(partial).exists());
                refused += 1;
            }
            ref lines => panic!("{lines:?}"),
        }
        fs::remove_file(sandbox.path("traces/read-file/0009.json")).ok();
    }
    assert!(recovered >= CUT && refused > 0, "{recovered} recovered, {refused} refused");
}

/// What is whole is imported; of the rest it is said, a line for each damaged part, where in the file that is.
#[test]
fn recordings_of_other_tools() {
    for file in ["chromium.har", "flows.har", "flows.mitm", "claude-trace.jsonl", "litellm.jsonl", "spans.jsonl"] {
        let whole = fs::read(repository("fixtures/imports").join(file)).unwrap();
        let mut named = 0;
        for variant in damaged(&whole).into_iter().step_by(STEP) {
            let sandbox = Sandbox::new();
            sandbox.write(file, variant);
            let ran = sandbox.run(&["trace", "import", "--out", "traces", file]);
            errors(&ran);
            let lines = ran.stdout.lines().chain(ran.stderr.lines()).filter(|line| line.contains(&format!("{file}: "))).count();
            assert!(ran.code == Some(0) || (ran.code == Some(2) && lines > 0), "{ran:?}");
            named += usize::from(lines > 0);
        }
        assert!(named >= CUT, "only {named} damaged variants of {file} were named");
    }
}

#[test]
#[cfg(feature = "mlx")]
fn model_folders() {
    let sandbox = Sandbox::new();
    copy(&sandbox, "fixtures/models/tiny");
    let folder = "fixtures/models/tiny";
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        let path = format!("{folder}/{file}");
        refusals(&sandbox, &path, CUT, &["model", "check", folder]);
        // A server says the same before it listens.
        let whole = fs::read(sandbox.path(&path)).unwrap();
        sandbox.write(&path, &whole[..whole.len() / 2]);
        let ran = sandbox.run(&["serve", "--model", folder, "--port", "0"]);
        assert!(matches!(errors(&ran)[..], [line] if line.contains(file)) && matches!(ran.code, Some(2 | 3)), "{ran:?}");
        sandbox.write(&path, whole);
    }
}
