//! `anyclaude trace grep`: which exchanges have a text.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::style;
use regex::{Regex, RegexBuilder};
use serde::Serialize;

use super::folder::or_default;
use crate::cli::{CliError, print};
use crate::trace::{self, Outline, TextMatch, Trace, find_in_item, outlines};

/// The most characters of a line that are shown around a match.
const SHOWN: usize = 160;

/// How many files are searched before what is found in them is printed.
const AT_ONCE: usize = 2048;

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
    #[serde(serialize_with = "trace::path_text::path")]
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
    let files = trace::find(&or_default(args.paths)?)?;
    let shown = |hit: &Hit<'_>| match args.json {
        true => serde_json::to_string(hit).map_err(CliError::input),
        false => Ok(text_line(hit, &pattern)),
    };
    let mut found = 0;
    for some in files.chunks(AT_ONCE) {
        let lines = outlines(
            some,
            |_, _, json| find_in_item(json, &pattern),
            |file, outline| {
                let outline = outline?;
                hits(file, &outline, &pattern).iter().map(shown).collect::<Result<Vec<_>, CliError>>()
            },
        );
        let lines: Vec<String> = lines.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        let begin = match (args.json, found, lines.is_empty()) {
            (false, ..) | (true, _, true) => "",
            (true, 0, _) => "[",
            (true, ..) => ",\n",
        };
        found += lines.len();
        print(&format!("{begin}{}", lines.join(if args.json { ",\n" } else { "" })))?;
    }
    if args.json {
        print(if found == 0 { "[]\n" } else { "]\n" })?;
    }
    Ok(ExitCode::from(if found > 0 { 0 } else { 1 }))
}

fn hits<'a>(file: &'a Path, outline: &'a Outline<Vec<TextMatch>>, pattern: &Regex) -> Vec<Hit<'a>> {
    let Trace { session, seq, .. } = &outline.trace;
    let found = outline.search(pattern).into_iter();
    found.map(|TextMatch { place, line }| Hit { file, session, seq: *seq, place, line }).collect()
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
