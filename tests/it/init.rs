//! `anyclaude init` and the action that its workflow uses; completions and manual pages.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::process::{Ran, run};
use crate::support::sandbox::{Sandbox, repository};

#[test]
fn init_writes_what_is_missing_and_keeps_what_is_there() {
    let sandbox = Sandbox::new();
    sandbox.write(".gitignore", "target\n*.snap.new");
    let arguments = ["init", "--model", "my \"own\" model", "--github", "me/anyclaude@v0.1.0", "--gitlab"];
    let ran = sandbox.run(&arguments).exits(0);
    insta::assert_snapshot!(ran.stdout, @r#"
    added to .gitignore
    wrote    anyclaude.toml
    wrote    ci/traces/README.md
    wrote    .github/workflows/anyclaude.yml
    wrote    .gitlab-ci.yml

    Next:
      anyclaude --record -- -p "Read README.md and tell me what this project is" --allowedTools Read
      anyclaude trace scrub --keep-turns --out ci/traces traces/
      anyclaude replay ci/traces --snapshots ci/traces/snapshots --update
    "#);
    assert_eq!(sandbox.read(".gitignore"), "target\n*.snap.new\n/traces/\n");
    assert!(sandbox.read(".github/workflows/anyclaude.yml").contains("uses: me/anyclaude/.github/actions/replay@v0.1.0\n"));
    let settings: Value = serde_json::from_str(&sandbox.run(&["config", "show", "--json"]).exits(0).stdout).unwrap();
    let found = ["mode", "model", "record", "traces"].map(|key| settings[key]["value"].clone());
    assert_eq!(found[..3], ["mlx".into(), "my \"own\" model".into(), Value::Bool(true)]);

    sandbox.write("anyclaude.toml", "mode = \"claude\"\n");
    let again = sandbox.run(&arguments).exits(0).stdout;
    assert!(again.lines().take(5).all(|line| line.starts_with("kept ")), "{again}");
    assert_eq!(sandbox.read("anyclaude.toml"), "mode = \"claude\"\n");
}

#[test]
fn init_says_what_it_cannot_do() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.run(&["init", "nowhere"]).refusal(), @"exit 2: error: nowhere: no such folder");
    sandbox.write("ci", "a file");
    let refusal = sandbox.portable(&sandbox.run(&["init"]).refusal());
    insta::assert_snapshot!(refusal, @"exit 2: error: ./ci/traces/README.md: Not a directory (os error [number])");
}

/// What the action of this repository runs in a project that has committed its traces.
fn action(sandbox: &Sandbox, inputs: &[(&str, &str)]) -> Ran {
    let binaries = Path::new(env!("CARGO_BIN_EXE_anyclaude")).parent().unwrap();
    let path =
        std::env::join_paths([binaries.into()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let mut command: Command = sandbox.program(repository(".github/actions/replay/replay.sh"));
    run(command.env("PATH", path.unwrap()).env("GITHUB_ACTIONS", "true").envs(inputs.iter().copied()))
}

#[cfg(feature = "mlx")]
#[test]
fn the_action_passes_what_is_as_accepted_and_fails_with_an_annotation_where_a_call_changed() {
    let sandbox = Sandbox::new();
    let copy = |from: &str, to: &str| sandbox.write(to, std::fs::read(repository(from)).unwrap());
    copy("traces/read-file/0001.json", "ci/traces/read-file/0001.json");
    copy("snapshots/read-file__0001.snap", "ci/traces/snapshots/read-file__0001.snap");
    sandbox.run(&["init"]).exits(0);
    let inputs = [("TRACES", "ci/traces"), ("ARGUMENTS", "--phases cold")];
    action(&sandbox, &inputs).exits(0);
    assert!(["replay.html", "replay.xml", "replay.json"].iter().all(|report| sandbox.path(report).exists()));

    let snapshot = sandbox.read("ci/traces/snapshots/read-file__0001.snap");
    assert!(snapshot.contains("hello.txt"));
    sandbox.write("ci/traces/snapshots/read-file__0001.snap", snapshot.replace("hello.txt", "other.txt"));
    let ran = action(&sandbox, &inputs).exits(1);
    assert!(ran.stdout.contains("::error"), "{}", ran.stdout);
}

#[test]
fn the_action_ends_at_a_folder_that_is_not_there() {
    let ran = action(&Sandbox::new(), &[("TRACES", "ci/traces")]).exits(2);
    assert!(ran.stderr.contains("ci/traces"), "{}", ran.stderr);
}

#[test]
fn shells_can_read_the_completions_and_man_the_pages() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.run(&["completions", shell]).exits(0).stdout.contains("replay"), "{shell}");
    }
    sandbox.write("completions", sandbox.run(&["completions", "bash"]).stdout);
    run(sandbox.program("bash").args(["-n", "completions"])).exits(0);
    sandbox.run(&["man", "pages/man1"]).exits(0);
    let page = sandbox.read("pages/man1/anyclaude-replay.1");
    assert!(page.starts_with(".ie") && page.contains(".TH"), "{page}");
}
