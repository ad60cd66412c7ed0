//! Times and sizes as people read them.

use std::fmt::Display;

pub(super) use crate::report::units::{count, duration};

/// Like [`duration`]; a dash for `None`.
pub(super) fn maybe_duration(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), duration)
}

/// A number with a comma between each group of three digits: `12,345`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
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
    fn digits_are_grouped_and_a_missing_time_is_a_dash() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
        assert_eq!(maybe_duration(None), "-");
    }
}
