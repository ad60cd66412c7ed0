//! `anyclaude trace import`: other tools' recordings as traces.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::style;

use crate::cli::child::own_headers;
use crate::cli::text::{count, grouped, one_line};
use crate::cli::{CliError, print, say};
use crate::formats::{IMPORTERS, Import, ImportError, Passed, importer_named, newest_session, projects_folder};
use crate::trace::redact::Redactor;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace import                        the newest session of Claude Code in this folder
  anyclaude trace import ~/.claude/projects/-home-me-app/*.jsonl
  anyclaude trace import --out corpus recording.har more.har.gz
  anyclaude trace import litellm.jsonl spans.jsonl flows.mitm .claude-trace/log-*.jsonl
  anyclaude trace import --from claude-code old.txt

docs/import.md says what of each format comes over.
Files may be compressed by gzip or zstd.
Exit codes: 0 something was imported, 2 nothing was, or a file cannot be read.")]
pub(super) struct TraceImportArgs {
    /// Files of other tools [default: the transcript of Claude Code's newest session with requests in this folder]
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

/// How many passed places of a file are named.
const SHOWN: usize = 5;

/// Imports the files, then says what could not be imported and what the traces lack.
pub(super) fn run(args: TraceImportArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let headers = own_headers();
    let said = redactor.for_request(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())), "");
    import(args, redactor, headers, &said).map_err(|error| error.redacted(&said))
}

/// `credentials`: headers of the client's requests. `said`: the redactor of what is printed.
fn import(
    args: TraceImportArgs,
    redactor: &Redactor,
    credentials: Vec<(String, String)>,
    said: &Redactor,
) -> Result<ExitCode, CliError> {
    let is_own_choice = args.files.is_empty();
    // What anyclaude itself takes from Claude Code's folder is Claude Code's, however it begins.
    let from = if is_own_choice { Some("claude-code") } else { args.from.as_deref() };
    let files = if is_own_choice { vec![newest_here(said)?] } else { args.files };
    let mut import = Import::into(&args.out, redactor).with_credentials(credentials);
    let errors: Vec<ImportError> =
        files.iter().filter_map(|file| import.file(file, from.and_then(importer_named)).err()).collect();
    print(&said.text(&report(&import, &args.out)))?;
    if !errors.is_empty() {
        let lines: Vec<String> = errors.iter().map(|error| one_line(error).to_string()).collect();
        return Err(CliError::Input(lines.join("\n")));
    }
    let is_empty = import.sessions.values().all(|session| session.exchanges == 0);
    Ok(ExitCode::from(if is_empty { 2 } else { 0 }))
}

/// The transcript of the newest session of Claude Code in this folder.
fn newest_here(said: &Redactor) -> Result<PathBuf, CliError> {
    let here = env::current_dir().map_err(|error| CliError::input(format!("cannot tell the folder that this is: {error}")))?;
    let claude = env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".claude")));
    let claude = claude.ok_or_else(|| CliError::input("no home folder; name the file to import"))?;
    let projects = projects_folder(&claude, &here).map_err(CliError::input)?;
    let newest =
        newest_session(&projects).map_err(|error| CliError::input(format!("cannot search {}: {error}", projects.display())))?;
    for (path, reason) in newest.skipped.iter().take(SHOWN) {
        say(said.text(&format!("skipped {}: {}", one_line(path.display()), one_line(reason))));
    }
    if newest.skipped.len() > SHOWN {
        say(format_args!("skipped {} more", grouped((newest.skipped.len() - SHOWN) as u64)));
    }
    let transcript = newest.transcript.ok_or_else(|| {
        let projects = projects.display();
        let none = if newest.skipped.is_empty() { "no transcripts" } else { "no transcript with requests" };
        CliError::input(format!("no session of Claude Code in this folder: {projects} has {none}; name the file to import"))
    })?;
    say(said.text(&format!("importing {}", one_line(transcript.display()))));
    Ok(transcript)
}

fn report(import: &Import<'_>, out: &Path) -> String {
    let mut text = String::new();
    for (name, session) in import.sessions.iter().filter(|(_, session)| session.exchanges > 0) {
        text.push_str(&format!("{}: {}\n", one_line(out.join(name).display()), count(session.exchanges as usize, "exchange")));
        for (lack, times) in &session.missing {
            text.push_str(&format!("  {} without {}\n", times, one_line(lack)));
        }
    }
    for importer in &import.lacking {
        text.push_str(&format!("{} do not hold: {}\n", importer.title(), importer.lacks()));
    }
    for file in &import.empty {
        text.push_str(&format!("nothing is in {}\n", one_line(file.display())));
    }
    for file in &import.repeated_files {
        text.push_str(&format!("imported once, though named or found again: {}\n", one_line(file.display())));
    }
    for (file, times) in &import.repeated {
        let times = count(*times, "exchange");
        text.push_str(&format!("there already, and passed over: {times} of {}\n", one_line(file.display())));
    }
    if import.unrelated > 0 {
        text.push_str(&format!("passed over what is no call of a model: {}\n", import.unrelated));
    }
    text + &not_imported(&import.passed)
}

/// What could not be imported: the first of each file, and how many more.
fn not_imported(passed: &[(PathBuf, Passed)]) -> String {
    if passed.is_empty() {
        return String::new();
    }
    let mut text = format!("{} {}\n", style("not imported:").yellow().bold(), passed.len());
    for of_file in passed.chunk_by(|(one, _), (next, _)| one == next) {
        for (file, Passed { place, reason }) in of_file.iter().take(SHOWN) {
            text.push_str(&format!("  {}: {place}: {}\n", one_line(file.display()), one_line(reason)));
        }
        if of_file.len() > SHOWN {
            text.push_str(&format!("  and {} more\n", grouped((of_file.len() - SHOWN) as u64)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_places_the_first_are_named_and_none_takes_a_line_of_its_own() {
        let passed: Vec<_> = (1..=200_000)
            .map(|line| (PathBuf::from("a\nb.jsonl"), Passed { place: format!("line {line}"), reason: "bad\n".into() }))
            .collect();
        let said = console::strip_ansi_codes(&not_imported(&passed)).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), SHOWN + 2);
        assert_eq!(lines[0], "not imported: 200000");
        assert_eq!(lines[1], r"  a\nb.jsonl: line 1: bad\n");
        assert_eq!(lines[SHOWN + 1], "  and 199,995 more");
    }
}
