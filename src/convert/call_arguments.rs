//! Reading a tool call's arguments as their JSON text arrives in pieces.

use serde_json::Value;

/// The text of one JSON object, followed to its end. Text after the object is dropped: some servers repeat the arguments when the
/// call ends. Line breaks and other control characters in its strings, which JSON does not allow, are escaped: some models write
/// them, and what they mean is clear.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallArguments {
    progress: JsonProgress,
    /// Text that was pushed and not yet taken.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JsonProgress {
    /// Only white space so far.
    #[default]
    BeforeObject,
    InObject {
        /// Open braces and brackets.
        depth: usize,
        string: StringState,
    },
    Complete,
    /// The text does not start with an object. [`CallArguments::finish`] decides what it means.
    NoObject,
}

/// Where the text stands with respect to JSON strings, in which braces do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringState {
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

impl CallArguments {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: &str) {
        if self.is_complete() {
            return;
        }
        for character in piece.chars() {
            if self.progress.is_in_string() && character.is_ascii_control() && character != '\u{7f}' {
                let quoted = Value::from(character.to_string()).to_string();
                self.held.push_str(&quoted[1..quoted.len() - 1]);
            } else {
                self.held.push(character);
            }
            self.progress = self.progress.after(character);
            if self.is_complete() {
                return;
            }
        }
    }

    /// Whether nothing but white space has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.progress == JsonProgress::BeforeObject
    }

    /// Whether the object has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.progress == JsonProgress::Complete
    }

    /// Takes the text that is certain to belong to the object.
    pub(crate) fn take(&mut self) -> String {
        match self.progress {
            JsonProgress::InObject { .. } | JsonProgress::Complete => std::mem::take(&mut self.held),
            JsonProgress::BeforeObject | JsonProgress::NoObject => String::new(),
        }
    }

    /// Takes the rest, when nothing more comes. An object inside a JSON string is unwrapped; `null` means no arguments.
    pub(crate) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        if !matches!(self.progress, JsonProgress::BeforeObject | JsonProgress::NoObject) {
            return held;
        }
        match serde_json::from_str(&held) {
            Ok(Value::Null) => String::new(),
            Ok(Value::String(text)) if text.trim_start().starts_with('{') => text,
            _ if held.trim().is_empty() => String::new(),
            _ => held,
        }
    }
}

impl JsonProgress {
    fn is_in_string(self) -> bool {
        matches!(self, Self::InObject { string: StringState::Inside, .. })
    }

    fn after(self, character: char) -> Self {
        use StringState::{Escaped, Inside, Outside};
        match self {
            Self::BeforeObject if character.is_whitespace() => Self::BeforeObject,
            Self::BeforeObject if character == '{' => Self::InObject { depth: 1, string: Outside },
            Self::BeforeObject | Self::NoObject => Self::NoObject,
            Self::Complete => Self::Complete,
            Self::InObject { depth, string } => match (string, character) {
                (Outside, '"') => Self::InObject { depth, string: Inside },
                (Outside, '{' | '[') => Self::InObject { depth: depth + 1, string },
                (Outside, '}' | ']') if depth == 1 => Self::Complete,
                (Outside, '}' | ']') => Self::InObject { depth: depth - 1, string },
                (Inside, '\\') => Self::InObject { depth, string: Escaped },
                (Inside, '"') => Self::InObject { depth, string: Outside },
                (Escaped, _) => Self::InObject { depth, string: Inside },
                (Outside | Inside, _) => self,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_one_object_are_taken_and_nothing_else() {
        for (pieces, expected, complete) in [
            (vec!["{\"a\":", "\"}\\\"\"", "}"], "{\"a\":\"}\\\"\"}", true),
            (vec!["{\"a\":[{}]}", "{\"a\":[{}]}"], "{\"a\":[{}]}", true),
            (vec!["", " ", "{}"], " {}", true),
            (vec!["{}\n", "  "], "{}", true),
            (vec!["{\n\"a\": \"b\n", "\u{1}c\"}"], "{\n\"a\": \"b\\n\\u0001c\"}", true),
            (vec!["{\"a\": 1"], "{\"a\": 1", false),
            (vec!["null"], "", false),
            (vec![""], "", false),
            (vec!["\"{\\\"a\\\"", ":1}\""], "{\"a\":1}", false),
            (vec!["[1]"], "[1]", false),
        ] {
            let mut arguments = CallArguments::default();
            let mut taken = String::new();
            for piece in &pieces {
                arguments.push(piece);
                taken += &arguments.take();
            }
            assert_eq!(arguments.is_complete(), complete, "{pieces:?}");
            taken += &arguments.finish();
            assert_eq!(taken, expected, "{pieces:?}");
        }
    }
}
