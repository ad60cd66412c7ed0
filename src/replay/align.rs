//! Which of two answers' calls belong together. Pure.

use crate::snapshot::ToolUse;

/// Calls of two answers that belong together, by their positions; `None` where one answer has no such call. In the order of the
/// answers.
pub type Pair = (Option<usize>, Option<usize>);

/// What it costs to leave a call alone.
const ALONE: u32 = 3;

/// What it costs to pair two calls. Two calls with nothing in common still are one changed call, which is cheaper than one lost
/// and one new.
fn cost(accepted: &ToolUse, found: &ToolUse) -> u32 {
    match (accepted.name == found.name, accepted.input == found.input) {
        (true, true) => 0,
        (true, false) | (false, true) => 2,
        (false, false) => 5,
    }
}

/// Pairs the calls so that the least has changed.
pub fn align(accepted: &[ToolUse], found: &[ToolUse]) -> Vec<Pair> {
    let (rows, columns) = (accepted.len(), found.len());
    // least[i][j]: the least cost of the calls from i and from j on.
    let mut least = vec![vec![0; columns + 1]; rows + 1];
    for i in (0..=rows).rev() {
        for j in (0..=columns).rev() {
            least[i][j] = match (i < rows, j < columns) {
                (true, true) => {
                    let paired = least[i + 1][j + 1] + cost(&accepted[i], &found[j]);
                    paired.min(ALONE + least[i + 1][j]).min(ALONE + least[i][j + 1])
                }
                (true, false) => ALONE + least[i + 1][j],
                (false, true) => ALONE + least[i][j + 1],
                (false, false) => 0,
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < rows || j < columns {
        if i < rows && j < columns && least[i][j] == least[i + 1][j + 1] + cost(&accepted[i], &found[j]) {
            pairs.push((Some(i), Some(j)));
            (i, j) = (i + 1, j + 1);
        } else if i < rows && least[i][j] == ALONE + least[i + 1][j] {
            pairs.push((Some(i), None));
            i += 1;
        } else {
            pairs.push((None, Some(j)));
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A call for each word, `tool:argument`.
    fn calls(text: &str) -> Vec<ToolUse> {
        let call = |word: &str| {
            let (name, argument) = word.split_once(':').unwrap();
            ToolUse { name: name.into(), input: json!({"a": argument}) }
        };
        text.split_whitespace().map(call).collect()
    }

    #[test]
    fn calls_are_paired_so_that_the_least_has_changed() {
        let table: [(&str, &str, &[Pair]); 7] = [
            ("", "", &[]),
            ("A:1 B:2", "A:1 B:2", &[(Some(0), Some(0)), (Some(1), Some(1))]),
            ("A:1 B:2", "B:2", &[(Some(0), None), (Some(1), Some(0))]),
            ("B:2", "A:1 B:2", &[(None, Some(0)), (Some(0), Some(1))]),
            ("A:1 A:2 A:3", "A:1 A:3", &[(Some(0), Some(0)), (Some(1), None), (Some(2), Some(1))]),
            ("A:1 B:2", "A:1 C:2", &[(Some(0), Some(0)), (Some(1), Some(1))]),
            ("A:1", "C:2", &[(Some(0), Some(0))]),
        ];
        for (accepted, found, expected) in table {
            assert_eq!(align(&calls(accepted), &calls(found)), expected, "{accepted} / {found}");
        }
    }
}
