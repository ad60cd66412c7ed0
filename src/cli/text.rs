//! Times and sizes as people read them.

use std::fmt::Display;

pub(super) use crate::report::units::{count, duration, grouped};

/// Like [`duration`]; a dash for `None`.
pub(super) fn maybe_duration(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), duration)
}

/// A text, such as a file's name, without line breaks: it would look like lines of ours.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().replace('\n', "\\n")
}

/// A table's lines without the blanks around them.
pub(super) fn trimmed_lines(table: &str) -> String {
    table.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_time_is_a_dash() {
        assert_eq!(maybe_duration(None), "-");
    }
}
