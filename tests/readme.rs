//! README's commands do what README says: each is run, with the real client, in a folder of its own.

#[path = "support/binary.rs"]
mod binary;
#[path = "support/clients.rs"]
mod clients;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use binary::Serving;

const README: &str = include_str!("../README.md");

/// The lines of README's code blocks that run this program, without what is printed.
fn commands(starting_with: &str) -> Vec<&'static str> {
    README.lines().filter_map(|line| line.trim().strip_prefix("$ ")).filter(|line| line.starts_with(starting_with)).collect()
}

/// Runs a line as a user would, with this input, and gives what it printed.
fn run(line: &str, folder: &Path, input: &str) -> Output {
    let binary = assert_cmd::cargo::cargo_bin!("anyclaude").parent().unwrap();
    let client = clients::installed("node_modules/.bin/claude");
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env_remove("CI");
    command.envs(clients::claude_environment(&folder.join("home")));
    command
        .env("PATH", format!("{}:{}:{}", binary.display(), client.parent().unwrap().display(), std::env::var("PATH").unwrap()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_session_is_recorded_replayed_and_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), folder.join("fixtures")).unwrap();
    std::fs::create_dir(folder.join("home")).unwrap();
    std::fs::write(folder.join("hello.txt"), "Hello from a small file.\n").unwrap();

    let [serve] = commands("anyclaude serve")[..] else { panic!("README starts one server") };
    assert_eq!(serve, "anyclaude serve --model fixtures/models/tiny --port 8081");
    let serving = Serving::start("fixtures/models/tiny", &[]);
    let [record] = commands("anyclaude record")[..] else { panic!("README records once") };
    let recorded = run(&record.replace("http://127.0.0.1:8081", &serving.url), folder, "");
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    assert!(String::from_utf8_lossy(&recorded.stderr).contains("recorded "));

    let [first, again] = commands("anyclaude replay")[..] else { panic!("README replays twice") };
    let new = run(first, folder, "");
    assert_eq!(new.status.code(), Some(1), "{}{}", String::from_utf8_lossy(&new.stdout), String::from_utf8_lossy(&new.stderr));
    let [review] = commands("anyclaude review")[..] else { panic!("README reviews once") };
    let reviewed = run(review, folder, "a\n".repeat(20).as_str());
    assert!(reviewed.status.success() && String::from_utf8_lossy(&reviewed.stdout).contains("0 still pending"));
    let accepted = run(again, folder, "");
    assert_eq!(accepted.status.code(), Some(0), "{}", String::from_utf8_lossy(&accepted.stdout));
    let (status, said) = serving.stop("TERM");
    assert!(status.success() && said.contains("served 1 request"), "{said}");
}

#[test]
fn every_make_target_exists_and_ci_runs_those_of_the_readme() {
    let makefile = include_str!("../Makefile");
    let targets = commands("make ").into_iter().map(|line| line.split_whitespace().nth(1).unwrap());
    let targets: Vec<&str> = targets.collect();
    assert!(!targets.is_empty());
    for target in &targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no target {target}");
    }
    let ci = include_str!("../.ci/run");
    for command in ci.lines().filter_map(|line| line.strip_prefix("make ")) {
        assert!(targets.contains(&command), "CI runs make {command}, which README does not name");
    }
}
