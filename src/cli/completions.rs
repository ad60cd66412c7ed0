//! `anyclaude completions` and `anyclaude man`: what packages install beside the program, made from its own arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

use super::{Cli, CliError, print};

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude completions bash > ~/.local/share/bash-completion/completions/anyclaude
  anyclaude completions zsh > ~/.zfunc/_anyclaude
  anyclaude completions fish > ~/.config/fish/completions/anyclaude.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Write manual pages, one for each command
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  anyclaude man ~/.local/share/man/man1 && man anyclaude-replay")]
pub(super) struct ManArgs {
    /// The folder to write them into; it is made if it is missing
    folder: PathBuf,
}

/// Prints completions.
pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "anyclaude", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual pages.
pub(super) fn man(args: &ManArgs) -> Result<ExitCode, CliError> {
    let ManArgs { folder } = args;
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| CliError::input(format!("{}: {error}", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}
