//! A line diff of two texts, with the changed words of a line emphasised and three unchanged lines around each change.

use console::{StyledObject, style};
use similar::{ChangeTag, TextDiff};

/// Unchanged lines shown before and after a change.
const CONTEXT: usize = 3;

/// One side of a diff.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its name in the diff's header.
    pub label: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// The diff as text: two header lines, then numbered lines; only the headers if the texts are equal. Coloured if standard output
/// takes colours.
///
/// ```
/// use anyclaude::snapshot::{Side, diff};
///
/// let old = Side { label: "accepted", text: "one\ntwo\n" };
/// let new = Side { label: "this replay", text: "one\n2\n" };
/// let text = diff(old, new);
/// let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
/// assert_eq!(lines, ["--- accepted", "+++ this replay", "1    1 │  one", "2      │ -two", "2 │ +2"]);
/// ```
pub fn diff(old: Side, new: Side) -> String {
    let mut out = format!("{}\n{}\n", style(format!("--- {}", old.label)).red(), style(format!("+++ {}", new.label)).green());
    let text_diff = TextDiff::from_lines(old.text, new.text);
    for (group_index, group) in text_diff.grouped_ops(CONTEXT).iter().enumerate() {
        if group_index > 0 {
            out.push_str(&format!("{}\n", style("          ⋮").dim()));
        }
        for change in group.iter().flat_map(|op| text_diff.iter_inline_changes(op)) {
            let number = |index: Option<usize>| index.map_or(String::new(), |index| (index + 1).to_string());
            let gutter = format!("{:>4} {:>4} │", number(change.old_index()), number(change.new_index()));
            out.push_str(&format!("{} {}", style(gutter).dim(), coloured(change.tag(), sign(change.tag()))));
            for (emphasised, words) in change.iter_strings_lossy() {
                let words = words.trim_end_matches(['\n', '\r']);
                let words = coloured(change.tag(), words);
                let words = if emphasised { words.bold().underlined() } else { words };
                out.push_str(&words.to_string());
            }
            out.push('\n');
        }
    }
    out
}

fn sign(tag: ChangeTag) -> &'static str {
    match tag {
        ChangeTag::Delete => "-",
        ChangeTag::Insert => "+",
        ChangeTag::Equal => " ",
    }
}

fn coloured<D>(tag: ChangeTag, text: D) -> StyledObject<D> {
    match tag {
        ChangeTag::Delete => style(text).red(),
        ChangeTag::Insert => style(text).green(),
        ChangeTag::Equal => style(text).dim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(changed: &[(usize, &str)]) -> String {
        let line = |n: usize| changed.iter().find(|(at, _)| *at == n).map_or(format!("line {n}"), |(_, text)| text.to_string());
        (1..=20).map(|n| line(n) + "\n").collect()
    }

    #[test]
    fn a_change_is_shown_with_its_line_number_and_three_lines_around() {
        let (old, new) = (lines(&[]), lines(&[(5, "line five"), (16, "line sixteen")]));
        let text = diff(Side { label: "a.snap", text: &old }, Side { label: "now", text: &new });
        insta::assert_snapshot!(console::strip_ansi_codes(&text), @r"
        --- a.snap
        +++ now
           2    2 │  line 2
           3    3 │  line 3
           4    4 │  line 4
           5      │ -line 5
                5 │ +line five
           6    6 │  line 6
           7    7 │  line 7
           8    8 │  line 8
                  ⋮
          13   13 │  line 13
          14   14 │  line 14
          15   15 │  line 15
          16      │ -line 16
               16 │ +line sixteen
          17   17 │  line 17
          18   18 │  line 18
          19   19 │  line 19
        ");
    }

    #[test]
    fn a_new_text_is_all_additions() {
        let text = diff(Side { label: "none", text: "" }, Side { label: "new", text: "{\n}" });
        insta::assert_snapshot!(console::strip_ansi_codes(&text), @r"
        --- none
        +++ new
                1 │ +{
                2 │ +}
        ");
    }

    #[test]
    fn equal_texts_have_no_lines() {
        let side = Side { label: "x", text: "same\n" };
        assert_eq!(console::strip_ansi_codes(&diff(side, side)), "--- x\n+++ x\n");
    }
}
