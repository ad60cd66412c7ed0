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
      git add .gitignore anyclaude.toml .github/workflows/anyclaude.yml .gitlab-ci.yml ci/traces && git commit -m "Replay Claude Code's tool calls"
    "#);
    assert_eq!(sandbox.read(".gitignore"), "target\n*.snap.new\n/traces/\n");
    assert!(sandbox.read(".github/workflows/anyclaude.yml").contains("uses: me/anyclaude/.github/actions/replay@v0.1.0\n"));
    let settings: Value = serde_json::from_str(&sandbox.run(&["config", "show", "--json"]).exits(0).stdout).unwrap();
    let found = ["mode", "model", "record", "traces"].map(|key| settings[key]["value"].clone());
    assert_eq!(found[..3], ["mlx".into(), "my \"own\" model".into(), Value::Bool(true)]);

    sandbox.write("anyclaude.toml", "mode = \"claude\"\n");
    let again = sandbox.run(&arguments).exits(0);
    assert!(again.stdout.lines().take(5).all(|line| line.starts_with("kept ")), "{again:?}");
    assert_eq!(sandbox.read("anyclaude.toml"), "mode = \"claude\"\n");
    insta::assert_snapshot!(again.stderr, @"
    anyclaude.toml stays as it is: what was asked for is not in it unless you add it
    replay asks tiny, the model in this program, here as in CI; another one needs --model here and `model` in the CI job
    ");
}

#[test]
fn the_folder_that_settings_name_for_recordings_is_ignored_too() {
    let sandbox = Sandbox::new();
    let here = sandbox.path("").canonicalize().unwrap();
    let ignored = |settings: &str| {
        sandbox.write("anyclaude.toml", settings);
        sandbox.write(".gitignore", "traces/\n");
        sandbox.run(&["init"]).exits(0);
        sandbox.read(".gitignore").lines().skip(1).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ignored(""), "*.snap.new");
    assert_eq!(ignored("traces = \"./own/recordings\""), "*.snap.new /own/recordings/");
    assert_eq!(ignored(&format!("traces = {:?}", here.join("in"))), "*.snap.new /in/");
    for outside in ["../beside", "/elsewhere", "~/mine", "."] {
        assert_eq!(ignored(&format!("traces = {outside:?}")), "*.snap.new", "{outside}");
    }
    sandbox.write("anyclaude.toml", "traces = 5");
    insta::assert_snapshot!(sandbox.portable(&sandbox.run(&["init"]).refusal()), @"exit 2: error: ./anyclaude.toml:1:10: invalid type: integer `5`, expected path string");
}

#[test]
fn a_pipeline_that_is_kept_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write(".gitlab-ci.yml", "stages: [test]\n");
    let ran = sandbox.run(&["init", "--gitlab"]).exits(0);
    assert!(ran.stdout.contains("kept     .gitlab-ci.yml\n"), "{ran:?}");
    insta::assert_snapshot!(ran.stderr, @".gitlab-ci.yml stays as it is: no job in it replays traces unless you add the one that `init --gitlab` writes in an empty folder");
}

#[test]
fn init_says_what_it_cannot_do() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!(sandbox.run(&["init", "nowhere"]).refusal(), @"exit 2: error: nowhere: no such folder");
    sandbox.write("ci", "a file");
    let refusal = sandbox.portable(&sandbox.run(&["init"]).refusal());
    insta::assert_snapshot!(refusal, @"exit 2: error: ./ci/traces/README.md: Not a directory (os error [number])");
}

#[test]
fn init_writes_nothing_through_links_out_of_the_project() {
    let sandbox = Sandbox::new();
    sandbox.write("victim.txt", "mine\n");
    sandbox.write("elsewhere/notes", "");
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, sandbox.path(name)).unwrap();
    sandbox.write("project/src/main.rs", "");
    link("../victim.txt", "project/.gitignore");
    link("../elsewhere", "project/ci");
    let refused = || sandbox.portable(&sandbox.run(&["init", "project"]).refusal());
    insta::assert_snapshot!(refused(), @"exit 2: error: project/.gitignore: a symbolic link; put a file in its place, and run this again");
    std::fs::remove_file(sandbox.path("project/.gitignore")).unwrap();
    insta::assert_snapshot!(refused(), @"exit 2: error: project/ci: a symbolic link; put a folder in its place, and run this again");
    assert_eq!((sandbox.read("victim.txt"), sandbox.path("elsewhere/traces").exists()), ("mine\n".into(), false));
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

#[test]
fn examples_in_a_manual_page_stand_as_they_are_typed() {
    let sandbox = Sandbox::new();
    sandbox.run(&["man", "pages"]).exits(0);
    let page = sandbox.read("pages/anyclaude-trace-grep.1");
    let (_, examples) = page.split_once(".SH EXAMPLES\n.nf\n").unwrap();
    insta::assert_snapshot!(examples, @r#"
      anyclaude trace grep swordfish
      anyclaude trace grep \-i \*(Aqno such file\*(Aq traces/20261128\-040649
      anyclaude trace grep \*(Aq"?git push\*(Aq \-\-json traces/ | jq \-r \*(Aq.[].file\*(Aq | sort \-u

    Exit codes: 0 something was found, 1 nothing was.
    .fi
    "#);
    assert!(!page.contains("EXTRA"));
}
