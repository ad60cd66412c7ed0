//! README's commands do what README says: each is run, with the real client, in a folder of its own.

#[path = "support/binary.rs"]
mod binary;
#[path = "support/clients.rs"]
mod clients;
#[path = "support/hub.rs"]
mod hub;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use binary::Serving;
use hub::{Hub, Repository};
use tempfile::TempDir;

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

/// A folder in which README's commands find what they name.
fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), folder.path().join("fixtures")).unwrap();
    std::fs::create_dir(folder.path().join("home")).unwrap();
    std::fs::write(folder.path().join("hello.txt"), "Hello from a small file.\n").unwrap();
    folder
}

#[test]
fn claude_code_is_launched_on_the_embedded_model() {
    let folder = project();
    let [launch] = commands("anyclaude --model")[..] else { panic!("README launches once") };
    let run = || {
        let ran = run(launch, folder.path(), "");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    // README shows the second run: the first one has no recording to warm the cache from.
    let (_, said) = (run(), run());
    let begins = ["loading ", "loaded in ", "warming: ", "warmed in ", "ready in ", "recorded "];
    assert!(begins.iter().all(|begin| said.lines().any(|line| line.starts_with(begin))), "{said}");
    assert!(said.contains(" mlx tiny answers claude at ") && said.contains(" s saved\n"), "{said}");
}

#[tokio::test]
async fn a_model_is_pulled() {
    let file = |name: &str| (name.to_owned(), if name == "model.safetensors" { b"weights".to_vec() } else { b"{}".to_vec() });
    let files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map(file);
    let hub = Hub::start(Repository { files: files.into(), ..Repository::default() }).await;
    let folder = project();
    let [pull] = commands("anyclaude model")[..] else { panic!("README pulls once") };
    let (_, name) = pull.rsplit_once(' ').unwrap();
    let line = format!("HF_ENDPOINT={} {}", hub.url, pull.replace(name, "org/tiny"));
    let ran = tokio::task::spawn_blocking(move || run(&line, folder.path(), "")).await.unwrap();
    assert!(ran.status.success(), "{ran:?}");
    // What it is good for is said with the same name.
    assert!(README.contains(&format!("`anyclaude --model {name}`")));
}

#[test]
fn the_configuration_is_shown_as_readme_shows_it() {
    let folder = project();
    let block = README.split("in the project or at home:\n").nth(1).unwrap();
    let (file, shown) = block.split_once("    $ anyclaude config show\n").unwrap();
    let file: String = file.lines().map(|line| format!("{}\n", line.trim())).collect();
    std::fs::write(folder.path().join("anyclaude.toml"), file).unwrap();
    let ran = run("anyclaude config show", folder.path(), "");
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    let shown = shown.lines().take_while(|line| line.starts_with("    ")).map(str::trim).filter(|line| *line != "…");
    for line in shown {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = words(&line.replace('…', folder.path().canonicalize().unwrap().to_str().unwrap()));
        assert!(printed.lines().any(|line| words(line) == expected), "{line}\n{printed}");
    }
}

#[test]
fn a_session_is_recorded_replayed_and_reviewed() {
    let folder = project();
    let folder = folder.path();
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
    assert!(status.success() && said.contains("served 2 requests"), "{said}");
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
