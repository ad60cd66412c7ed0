//! `anyclaude trace import`: other tools' recordings as traces.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::style;

use crate::cli::text::count;
use crate::cli::{CliError, print, say};
use crate::formats::{IMPORTERS, Import, Importer, importer_named, newest_session, projects_folder};
use crate::trace::redact::Redactor;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace import                        the newest session of Claude Code in this folder
  anyclaude trace import ~/.claude/projects/-home-me-app/*.jsonl
  anyclaude trace import --out corpus recording.har
  anyclaude trace import --from claude-code old.txt")]
pub(super) struct TraceImportArgs {
    /// Files of other tools [default: the transcript of Claude Code's newest session in this folder]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for the traces, laid out as <DIR>/<session>/<number>.json
    #[arg(long, default_value = "traces", value_name = "DIR")]
    out: PathBuf,
    /// The files' format, where it is not to be told by what they hold
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    from: Option<String>,
}

fn format_parser() -> clap::builder::PossibleValuesParser {
    IMPORTERS.map(|importer| clap::builder::PossibleValue::new(importer.name()).help(importer.title())).into()
}

/// Imports the files, then says what could not be imported and what the traces lack.
pub(super) fn run(args: TraceImportArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let from = args.from.as_deref().and_then(importer_named);
    let files = if args.files.is_empty() { vec![newest_here()?] } else { args.files };
    let mut import = Import::into(&args.out, redactor);
    let mut importers: Vec<&'static dyn Importer> = Vec::new();
    let mut failed = Vec::new();
    for file in &files {
        match import.file(file, from) {
            Ok(importer) if importers.iter().all(|known| known.name() != importer.name()) => importers.push(importer),
            Ok(_) => {}
            Err(error) => failed.push(error.to_string()),
        }
    }
    print(&report(&import, &importers, &args.out))?;
    if !failed.is_empty() {
        return Err(CliError::Input(failed.join("\n")));
    }
    let is_empty = import.sessions.is_empty();
    Ok(ExitCode::from(if is_empty { 2 } else { 0 }))
}

/// The transcript of the newest session of Claude Code in this folder.
fn newest_here() -> Result<PathBuf, CliError> {
    let here = env::current_dir().map_err(|error| CliError::input(format!("cannot tell the folder that this is: {error}")))?;
    let claude = env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".claude")));
    let claude = claude.ok_or_else(|| CliError::input("no home folder; name the file to import"))?;
    let projects = projects_folder(&claude, &here);
    let newest =
        newest_session(&projects).map_err(|error| CliError::input(format!("cannot search {}: {error}", projects.display())))?;
    let newest = newest.ok_or_else(|| {
        CliError::input(format!(
            "no session of Claude Code in this folder: {} has no transcripts; name the file to import",
            projects.display()
        ))
    })?;
    say(format_args!("importing {}", newest.display()));
    Ok(newest)
}

fn report(import: &Import<'_>, importers: &[&dyn Importer], out: &Path) -> String {
    let mut text = String::new();
    for (name, session) in &import.sessions {
        text.push_str(&format!("{}: {}\n", out.join(name).display(), count(session.exchanges as usize, "exchange")));
        for (lack, times) in &session.missing {
            text.push_str(&format!("  {} without {lack}\n", times));
        }
    }
    for importer in importers.iter().filter(|_| !import.sessions.is_empty()) {
        text.push_str(&format!("{} do not hold: {}\n", importer.title(), importer.lacks()));
    }
    if !import.passed.is_empty() {
        text.push_str(&format!("{} {}\n", style("not imported:").yellow().bold(), import.passed.len()));
    }
    if import.unrelated > 0 {
        text.push_str(&format!("passed over what is no call of a model: {}\n", import.unrelated));
    }
    for (file, passed) in &import.passed {
        text.push_str(&format!("  {}: {}: {}\n", file.display(), passed.place, passed.reason));
    }
    text
}
