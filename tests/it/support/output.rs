//! Parts of what a program prints, for tests that compare them word for word.

use std::sync::LazyLock;

use regex::Regex;

use super::sandbox::portable;

/// The first line that begins like this, its indentation aside.
#[track_caller]
pub(crate) fn line_of<'a>(output: &'a str, start: &str) -> &'a str {
    let line = output.lines().map(str::trim).find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no line begins with {start:?}:\n{output}"))
}

/// The warnings of a log, without their times.
pub(crate) fn warnings_of(log: &str) -> String {
    let warnings = log.lines().filter_map(|line| line.split_once(" WARN ").map(|(_, warning)| warning));
    portable(&warnings.collect::<Vec<_>>().join("\n"))
}

/// A text without the numbers that depend on a client's version, a model or a machine: sizes, tokens and their shares.
pub(crate) fn uncounted(text: &str) -> String {
    static NUMBERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d+([.,]\d+)*(%| MB| kB| tokens| prompt tokens| output tokens| GFLOP/s| \()").unwrap());
    NUMBERS.replace_all(&portable(text), "N$2").into_owned()
}
