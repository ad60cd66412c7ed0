//! Two texts side by side, with the changed words of each line.

use similar::{ChangeTag, InlineChange, TextDiff};

/// Unchanged lines before and after a change.
const CONTEXT: usize = 3;

/// Two texts beside each other.
pub(super) struct SideBySide {
    /// What the left one is.
    pub old: String,
    /// What the right one is.
    pub new: String,
    /// The lines, some of the unchanged ones left out.
    pub rows: Vec<Row>,
}

/// A row of both texts.
pub(super) enum Row {
    /// A line of one text or of both.
    Lines(Option<Line>, Option<Line>),
    /// Unchanged lines that are left out.
    Gap,
}

/// A line of one text.
pub(super) struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Whether the other text has another line there, or none.
    pub is_changed: bool,
    /// Its parts.
    pub words: Vec<Word>,
}

/// A part of a line.
pub(super) struct Word {
    pub text: String,
    /// Whether the other line has something else here.
    pub is_changed: bool,
}

impl SideBySide {
    /// Compares two texts that are called this.
    pub(super) fn of((old, old_text): (String, &str), (new, new_text): (String, &str)) -> Self {
        let diff = TextDiff::from_lines(old_text, new_text);
        let mut rows = Vec::new();
        for (nth, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
            rows.extend((nth > 0).then_some(Row::Gap));
            for op in group {
                let (mut left, mut right) = (Vec::new(), Vec::new());
                for change in diff.iter_inline_changes(op) {
                    left.extend(change.old_index().map(|index| line(index, &change)));
                    right.extend(change.new_index().map(|index| line(index, &change)));
                }
                let (mut left, mut right) = (left.into_iter(), right.into_iter());
                loop {
                    match (left.next(), right.next()) {
                        (None, None) => break,
                        (old, new) => rows.push(Row::Lines(old, new)),
                    }
                }
            }
        }
        Self { old, new, rows }
    }
}

fn line(index: usize, change: &InlineChange<'_, str>) -> Line {
    let words =
        change.iter_strings_lossy().map(|(is_changed, text)| Word { text: text.trim_end_matches('\n').into(), is_changed });
    Line { number: index + 1, is_changed: change.tag() != ChangeTag::Equal, words: words.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_texts_stand_beside_each_other() {
        let (old, new) = ("{\n  \"a\": 1,\n  \"b\": 2\n}", "{\n  \"a\": 5,\n  \"b\": 2,\n  \"c\": 3\n}");
        let diff = SideBySide::of(("old".into(), old), ("new".into(), new));
        let shown = |line: &Option<Line>| {
            let Some(line) = line else { return "-".to_owned() };
            let words =
                line.words.iter().map(|word| if word.is_changed { format!("[{}]", word.text) } else { word.text.clone() });
            format!("{} {}", line.number, words.collect::<String>())
        };
        let rows = diff.rows.iter().map(|row| match row {
            Row::Lines(old, new) => format!("{:<16}|{}\n", shown(old), shown(new)),
            Row::Gap => "…\n".to_owned(),
        });
        insta::assert_snapshot!(rows.collect::<String>());
    }
}
