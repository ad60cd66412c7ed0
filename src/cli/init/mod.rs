//! `anyclaude init`: what a project needs to record sessions and to replay them in CI. Writes only what is missing.

mod project;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::project::{Ci, Done, Project, What};
use super::{CliError, choices, print, say};
use crate::config::Mode;

/// Prepare a project for recordings and for replaying them in CI
///
/// Writes settings, a folder for the traces that are committed, lines of .gitignore and a CI job. What is there stays as it is.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude init
  anyclaude init --mode lmstudio --model qwen/qwen3-coder-30b
  anyclaude init --github OWNER/anyclaude@v0.1.0     with a workflow that uses the action of that repository
  anyclaude init --gitlab                            with a job; a CI variable, ANYCLAUDE_REPOSITORY, says where to install from")]
pub(super) struct InitArgs {
    /// The project's folder
    #[arg(default_value = ".", value_name = "FOLDER")]
    folder: PathBuf,
    /// What answers Claude Code in this project
    #[arg(long, default_value = "mlx", value_parser = choices::mode())]
    mode: Mode,
    /// The model: a folder, the name of a pulled one, or one of the server's
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Write a workflow of GitHub Actions; REPOSITORY@REF is where anyclaude's action comes from
    #[arg(long, value_name = "OWNER/REPOSITORY@REF", value_parser = action)]
    github: Option<String>,
    /// Write a job for GitLab CI
    #[arg(long)]
    gitlab: bool,
}

/// A repository with what to take of it, as GitHub Actions name it.
fn action(name: &str) -> Result<String, String> {
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    match name.split_once('@') {
        Some((repository, reference)) if repository.split('/').count() == 2 && plain(repository) && plain(reference) => {
            Ok(name.to_owned())
        }
        _ => Err("it has to be OWNER/REPOSITORY@REF, such as OWNER/anyclaude@v0.1.0".into()),
    }
}

/// Runs the command.
pub(super) fn run(args: InitArgs) -> Result<ExitCode, CliError> {
    let InitArgs { folder, mode, model, github, gitlab } = args;
    let ci = github.map(Ci::GitHub).into_iter().chain(gitlab.then_some(Ci::GitLab)).collect();
    let has_model = model.is_some();
    let elsewhere = folder != Path::new(".");
    let done = Project { folder: folder.clone(), mode, model, ci }.prepare().map_err(CliError::input)?;
    let mut text = String::new();
    for Done { file, what } in &done {
        text.push_str(&format!("{:8} {file}\n", what.text()));
    }
    print(&text)?;
    for Done { file, .. } in done.iter().filter(|done| done.what == What::Kept) {
        let next = match &**file {
            ".gitlab-ci.yml" => {
                "no job in it replays traces unless you add the one that `init --gitlab` writes in an empty folder"
            }
            _ => "what was asked for is not in it unless you add it",
        };
        say(format_args!("{file} stays as it is: {next}"));
    }
    let there = if elsewhere { format!("  cd {}\n", folder.display()) } else { String::new() };
    let files: Vec<&str> = done.iter().map(|done| &*done.file).filter(|file| !file.starts_with("ci/traces")).collect();
    if has_model {
        say(
            "replay asks tiny, the model in this program, here as in CI; another one needs --model here and `model` in the CI job",
        );
    }
    print(&NEXT.replace("{there}", &there).replace("{files}", &files.join(" ")))?;
    Ok(ExitCode::SUCCESS)
}

/// What to do now.
const NEXT: &str = "
Next:
{there}  anyclaude --record -- -p \"Read README.md and tell me what this project is\" --allowedTools Read
  anyclaude trace scrub --keep-turns --out ci/traces traces/
  anyclaude replay ci/traces --snapshots ci/traces/snapshots --update
  git add {files} ci/traces && git commit -m \"Replay Claude Code's tool calls\"
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_has_an_owner_a_repository_and_a_reference() {
        for name in ["a/b@v1", "some-one/any.claude@main"] {
            assert_eq!(action(name).as_deref(), Ok(name));
        }
        for name in ["", "a/b", "a@v1", "a/b/c@v1", "a/b@", "a/b@v1\n      - run: x", "a b/c@v1"] {
            assert!(action(name).is_err(), "{name}");
        }
    }
}
