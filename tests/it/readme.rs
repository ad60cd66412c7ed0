//! README's commands do what README says: each is run, with the real client, in a folder of its own.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::support::clients::{claude, with_claude_settings};
use crate::support::hub::{Hub, Repository};
#[cfg(feature = "mlx")]
use crate::support::output::{line_of, uncounted};
use crate::support::process::{Ran, Running};
use crate::support::sandbox::{Sandbox, repository};

const README: &str = include_str!("../../README.md");

/// The lines of README's code blocks that run this program, without what is printed.
fn commands(starting_with: &str) -> Vec<&'static str> {
    README.lines().filter_map(|line| line.trim().strip_prefix("$ ")).filter(|line| line.starts_with(starting_with)).collect()
}

/// Runs a line as a user would, with this input.
#[track_caller]
fn run(sandbox: &Sandbox, line: &str, input: &str) -> Ran {
    let (binary, client) = (Path::new(env!("CARGO_BIN_EXE_anyclaude")), claude());
    let folders = [binary, &client].map(|program| program.parent().unwrap().display().to_string());
    let mut command = sandbox.program("sh");
    command.args(["-c", line]).stdin(Stdio::piped());
    command.env("PATH", format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap()));
    let mut running = Running::start(with_claude_settings(sandbox, &mut command));
    running.write(input);
    running.end()
}

/// A project in which README's commands find what they name.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink(repository("fixtures"), sandbox.path("fixtures")).unwrap();
    sandbox.write("hello.txt", "Hello from a small file.\n");
    sandbox
}

#[cfg(feature = "mlx")]
#[test]
fn claude_code_is_launched_on_the_embedded_model() {
    let sandbox = project();
    let [launch] = commands("anyclaude --model")[..] else { panic!("README launches once") };
    // README shows the second run: the first one has no recording to warm the cache from.
    run(&sandbox, launch, "").exits(0);
    let said = run(&sandbox, launch, "").exits(0).stderr;
    let begins = ["loading ", "loaded in ", "warming: ", "warmed in ", "ready in ", "recorded "];
    assert!(begins.iter().all(|begin| said.lines().any(|line| line.starts_with(begin))), "{said}");
    insta::assert_snapshot!(uncounted(line_of(&said, "ready in ")), @"ready in [time]: mlx tiny answers claude at http://127.0.0.1:[port]");
    assert!(said.contains(" s saved\n"), "{said}");
}

#[test]
fn a_model_is_pulled() {
    let tiny = repository("fixtures/models/tiny");
    let file = |name: &str| (name.to_owned(), fs::read(tiny.join(name)).unwrap());
    let files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map(file);
    let hub = Hub::start(Repository { files: files.into(), ..Repository::default() });
    let [pull] = commands("anyclaude model pull")[..] else { panic!("README pulls once") };
    let (_, name) = pull.rsplit_once(' ').unwrap();
    run(&project(), &format!("HF_ENDPOINT={} {}", hub.url, pull.replace(name, "org/tiny")), "").exits(0);
    // What it is good for is said with the same name.
    assert!(README.contains(&format!("`anyclaude --model {name}`")));
}

#[cfg(feature = "mlx")]
#[test]
fn a_model_is_checked_as_readme_shows_it() {
    let [check] = commands("anyclaude model check")[..] else { panic!("README checks once") };
    let shown = README.split(check).nth(1).unwrap().lines().skip(1).take_while(|line| line.starts_with("    "));
    let shown: String = shown.map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(uncounted(&run(&project(), check, "").exits(0).stdout), uncounted(&shown));
}

#[test]
fn the_configuration_is_shown_as_readme_shows_it() {
    let sandbox = project();
    let block = README.split("in the project or at home:\n").nth(1).unwrap();
    let (file, shown) = block.split_once("    $ anyclaude config show\n").unwrap();
    let file: String = file.lines().map(|line| format!("{}\n", line.trim())).collect();
    sandbox.write("anyclaude.toml", file);
    let printed = run(&sandbox, "anyclaude config show", "").stdout;
    let shown = shown.lines().take_while(|line| line.starts_with("    ")).map(str::trim).filter(|line| *line != "…");
    for line in shown {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = words(&line.replace('…', sandbox.path("").to_str().unwrap().trim_end_matches('/')));
        assert!(printed.lines().any(|line| words(line) == expected), "{line}\n{printed}");
    }
}

#[cfg(feature = "mlx")]
#[test]
fn a_session_is_recorded_replayed_and_reviewed() {
    use crate::support::serving::Serving;

    let sandbox = project();
    let [serve] = commands("anyclaude serve")[..] else { panic!("README starts one server") };
    assert_eq!(serve, "anyclaude serve --model tiny --port 8081");
    let serving = Serving::start("tiny", &[]);
    let [record] = commands("anyclaude record")[..] else { panic!("README records once") };
    let recorded = run(&sandbox, &record.replace("http://127.0.0.1:8081", &serving.url), "").exits(0);
    insta::assert_snapshot!(sandbox.portable(line_of(&recorded.stderr, "recorded ")), @"recorded 2 exchanges to traces/[session]");

    let [first, again] = commands("anyclaude replay")[..] else { panic!("README replays twice") };
    run(&sandbox, first, "").exits(1);
    let [review] = commands("anyclaude review")[..] else { panic!("README reviews once") };
    let reviewed = run(&sandbox, review, &"a\n".repeat(20)).exits(0);
    insta::assert_snapshot!(line_of(&reviewed.stdout, "Reviewed: "), @"Reviewed: 2 accepted, 0 rejected, 0 still pending");
    run(&sandbox, again, "").exits(0);
    let served = serving.stop("TERM").exits(0);
    insta::assert_snapshot!(uncounted(line_of(&served.stderr, "served ")), @"served 2 requests, N prompt tokens (N% from the cache), N output tokens");
}

#[test]
fn every_make_target_exists_and_ci_runs_those_of_the_readme() {
    let makefile = include_str!("../../Makefile");
    let targets = commands("make ").into_iter().map(|line| line.split_whitespace().nth(1).unwrap());
    let targets: Vec<&str> = targets.collect();
    assert!(!targets.is_empty());
    for target in &targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no target {target}");
    }
    let ci = include_str!("../../.ci/run");
    for command in ci.lines().filter_map(|line| line.strip_prefix("make ")) {
        for target in command.split(' ').filter(|word| !word.starts_with("--") && word.parse::<u8>().is_err()) {
            // What the tests need is part of `make test`.
            assert!(
                targets.contains(&target) || ["clients", "browser"].contains(&target),
                "CI runs make {target}, which README does not name"
            );
        }
    }
}

#[test]
fn help_names_every_make_target() {
    let makefile = include_str!("../../Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    for target in targets.split(' ').filter(|target| *target != "help") {
        assert!(makefile.contains(&format!("@echo \"  make {target} ")), "make help does not tell of {target}");
    }
}

/// The documents, and for each path they name in backquotes whether it exists.
#[test]
fn every_path_that_the_documents_name_exists() {
    let path =
        regex::Regex::new(r"`((?:src|tests|docs|crates|benches|examples|scripts|fixtures|traces)/[A-Za-z0-9_./-]+)`").unwrap();
    let mut documents: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].iter().map(|name| repository(name)).collect();
    for folder in ["docs", "docs/decisions"] {
        let files = std::fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    }
    let mut missing = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let named = path.captures_iter(&text).map(|captures| captures[1].to_owned());
        missing.extend(named.filter(|name| !repository(name).exists()).map(|name| format!("{}: {name}", document.display())));
    }
    assert_eq!(missing, Vec::<String>::new());
}
