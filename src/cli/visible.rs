//! Control characters in what is printed. Traces, backends and models may say anything, and a terminal obeys: `ESC ]` sets its
//! title or the clipboard, `ESC [` moves the cursor over what was printed before.

use std::borrow::Cow;

/// The numbers in the escape sequences of our own styles: all off, bold, dim, underlined, reverse, red to cyan. None of them
/// hides text or moves the cursor, so it is no matter who wrote such a sequence.
const STYLES: [&str; 11] = ["0", "1", "2", "4", "7", "31", "32", "33", "34", "35", "36"];

/// The text with its control characters as JSON writes them (`\u001b`), so that JSON stays JSON. Line breaks, tabs and styles
/// stay.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        rest = match harmless(found) {
            Some(length) => {
                let (kept, behind) = found.split_at(length);
                out.push_str(kept);
                behind
            }
            None => {
                let mut characters = found.chars();
                out.extend(characters.next().map(|control| format!("\\u{:04x}", u32::from(control))));
                characters.as_str()
            }
        };
    }
    out.push_str(rest);
    out.into()
}

fn is_obeyed(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// The length in bytes of the style, or of the line break of two characters, that a text begins with.
fn harmless(text: &str) -> Option<usize> {
    if text.starts_with("\r\n") {
        return Some(2);
    }
    let rest = text.strip_prefix("\u{1b}[")?;
    let number = STYLES.iter().find(|number| rest.strip_prefix(**number).is_some_and(|rest| rest.starts_with('m')))?;
    Some("\u{1b}[m".len() + number.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::style;
    use serde_json::{Value, json};

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, shown) in [
            ("a\tb\nc\r\nd é", "a\tb\nc\r\nd é"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\u{1b}[2J\u{1b}[1;1H", "\\u001b[2J\\u001b[1;1H"),
            ("\u{1b}[8mhidden", "\\u001b[8mhidden"),
            ("\u{9b}2J\u{7f}", "\\u009b2J\\u007f"),
            ("over\rwritten\u{8}", "over\\u000dwritten\\u0008"),
            ("\u{1b}", "\\u001b"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn our_own_styles_stay() {
        for styled in [style("a").red().bold(), style("a").green(), style("a").cyan().underlined(), style("a").dim().reverse()] {
            let text = styled.force_styling(true).to_string();
            assert_eq!(visible(&text), text);
        }
    }

    #[test]
    fn json_says_the_same() {
        let value = json!({"a": "\u{9b}\u{7f}\u{1b}"});
        assert_eq!(serde_json::from_str::<Value>(&visible(&value.to_string())).unwrap(), value);
    }
}
