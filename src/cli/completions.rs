//! `anyclaude completions` and `anyclaude man`: what packages install beside the program, made from its own arguments.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{Resettable, StyledStr};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, CliError, print};
use crate::files::{Access, write_whole};

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
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let written = fs::create_dir_all(folder).and_then(|()| write_pages(&command, folder));
    written.map_err(|error| CliError::input(format!("{}: {error}", folder.display())))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its commands.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_pages(inner, folder)?;
    }
    // `Man` would make one paragraph of the examples.
    let man = Man::new(command.clone().after_help(Resettable::<StyledStr>::Reset));
    let mut page = Vec::new();
    man.render(&mut page)?;
    if let Some(text) = command.get_after_help() {
        behind(&text.to_string()).to_writer(&mut page)?;
    }
    write_whole(&folder.join(man.get_filename()), &page, Access::Everyone)
}

/// What stands behind a command's help: sections with headings, whose lines stay as they are.
fn behind(text: &str) -> Roff {
    let mut roff = Roff::new();
    for line in text.lines() {
        match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            Some(heading) => drop(roff.control("fi", []).control("SH", [&*heading.to_uppercase()]).control("nf", [])),
            None => drop(roff.text([roman(line)])),
        }
    }
    roff.control("fi", []);
    roff
}
