//! What clients and upstreams say, such as a model's name or a path, in a line of ours.

/// The text with all control characters as JSON writes them (`\u001b`): styles would go on behind it, and line breaks would look
/// like lines of ours. So are those that turn the direction of a line.
pub(in crate::cli::record) fn foreign(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            _ if character.is_control() || turns(character) => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    shown
}

/// Whether it sets, embeds, overrides or isolates the direction of what follows.
fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_neither_styles_nor_commands_nor_turns() {
        for (text, shown) in [
            ("claude-é", "claude-é"),
            ("\u{1b}[31mred", "\\u001b[31mred"),
            ("POST /v1/\u{9b}2Jx", "POST /v1/\\u009b2Jx"),
            ("a\u{202e}txt.b\nc", "a\\u202etxt.b\\nc"),
        ] {
            assert_eq!(foreign(text), shown);
        }
    }
}
