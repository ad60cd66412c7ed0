//! `anyclaude trace grep`: which exchanges have a text.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::style;
use regex::{Regex, RegexBuilder};
use serde::Serialize;

use super::folder::or_default;
use crate::cli::{CliError, print};
use crate::trace::{self, Trace};

/// The most characters of a line that are shown around a match.
const SHOWN: usize = 160;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace grep swordfish
  anyclaude trace grep -i 'no such file' traces/20261128-040649
  anyclaude trace grep '\"?git push' --json traces/ | jq -r '.[].file' | sort -u

Exit codes: 0 something was found, 1 nothing was.")]
pub(super) struct TraceGrepArgs {
    /// A regular expression, looked for in each line of the texts of requests and answers
    pattern: String,
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Large and small letters are the same
    #[arg(short, long)]
    ignore_case: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A line that matches.
#[derive(Serialize)]
struct Hit<'a> {
    file: &'a Path,
    session: &'a str,
    seq: u32,
    /// The way to the text.
    place: String,
    line: String,
}

pub(super) fn run(args: TraceGrepArgs) -> Result<ExitCode, CliError> {
    let pattern = RegexBuilder::new(&args.pattern).case_insensitive(args.ignore_case).build();
    let pattern = pattern.map_err(|error| CliError::input(format!("the pattern is no regular expression: {error}")))?;
    let mut lines = Vec::new();
    let mut found = false;
    for file in trace::find(&or_default(args.paths)?)? {
        let trace = trace::read(&file)?;
        for hit in hits(&file, &trace, &pattern) {
            found = true;
            match args.json {
                true => lines.push(serde_json::to_string(&hit).map_err(CliError::input)?),
                false => print(&text_line(&hit, &pattern))?,
            }
        }
    }
    if args.json {
        print(&format!("[{}]\n", lines.join(",\n")))?;
    }
    Ok(ExitCode::from(if found { 0 } else { 1 }))
}

fn hits<'a>(file: &'a Path, trace: &'a Trace, pattern: &Regex) -> impl Iterator<Item = Hit<'a>> {
    let found = trace.search(pattern).into_iter();
    found.map(move |hit| Hit { file, session: &trace.session, seq: trace.seq, place: hit.place, line: hit.line })
}

fn text_line(hit: &Hit<'_>, pattern: &Regex) -> String {
    let shown = around(&hit.line, pattern.find(&hit.line).map_or(0, |found| found.start()));
    format!("{}: {} {shown}\n", hit.file.display(), style(&hit.place).cyan())
}

/// The part of a line around a place in it.
fn around(line: &str, at: usize) -> String {
    let before = line[..at].chars().count().saturating_sub(SHOWN / 4);
    let mut rest = line.chars().skip(before);
    let shown: String = rest.by_ref().take(SHOWN).collect();
    let (start, end) = (if before > 0 { "…" } else { "" }, if rest.next().is_some() { "…" } else { "" });
    format!("{start}{shown}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_around_its_match() {
        let line = format!("{}swordfish{}", "é".repeat(100), "ü".repeat(300));
        let shown = around(&line, line.find("swordfish").unwrap());
        assert_eq!(shown, format!("…{}swordfish{}…", "é".repeat(40), "ü".repeat(111)));
        assert_eq!(around("short", 2), "short");
    }
}
