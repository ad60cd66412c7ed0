//! Reading a call's arguments as they come in pieces.

use serde_json::Value;

/// Follows JSON text until the object that it starts with ends. What follows the object is dropped: some servers repeat
/// themselves at the end of a call.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    state: State,
    /// Pieces taken and not given out yet.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far.
    #[default]
    Before,
    /// Inside the object.
    Inside { depth: usize, text: Text },
    /// The object ended.
    Complete,
    /// Something that is no object: it is looked at as a whole in the end.
    Odd,
}

/// Where in a JSON string we are, if in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    Escaped,
}

impl Arguments {
    /// Takes a piece.
    pub fn push(&mut self, piece: &str) {
        if self.is_complete() {
            return;
        }
        for (at, character) in piece.char_indices() {
            self.state = self.state.next(character);
            if self.state == State::Complete {
                self.held.push_str(&piece[..at + character.len_utf8()]);
                return;
            }
        }
        self.held.push_str(piece);
    }

    /// Whether the object has ended: no more of this call can come.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// What can be given out by now.
    pub fn take(&mut self) -> String {
        match self.state {
            State::Inside { .. } | State::Complete => std::mem::take(&mut self.held),
            State::Before | State::Odd => String::new(),
        }
    }

    /// The rest, when no more comes: an object that was wrapped in a JSON string is unwrapped, `null` is no arguments.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        if !matches!(self.state, State::Before | State::Odd) {
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

impl State {
    fn next(self, character: char) -> Self {
        match self {
            Self::Before if character.is_whitespace() => Self::Before,
            Self::Before if character == '{' => Self::Inside { depth: 1, text: Text::Outside },
            Self::Before | Self::Odd => Self::Odd,
            Self::Complete => Self::Complete,
            Self::Inside { depth, text } => match (text, character) {
                (Text::Outside, '"') => Self::Inside { depth, text: Text::Inside },
                (Text::Outside, '{' | '[') => Self::Inside { depth: depth + 1, text },
                (Text::Outside, '}' | ']') if depth == 1 => Self::Complete,
                (Text::Outside, '}' | ']') => Self::Inside { depth: depth - 1, text },
                (Text::Inside, '\\') => Self::Inside { depth, text: Text::Escaped },
                (Text::Inside, '"') => Self::Inside { depth, text: Text::Outside },
                (Text::Escaped, _) => Self::Inside { depth, text: Text::Inside },
                (Text::Outside | Text::Inside, _) => self,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_object_and_nothing_else() {
        for (pieces, expected, complete) in [
            (vec!["{\"a\":", "\"}\\\"\"", "}"], "{\"a\":\"}\\\"\"}", true),
            (vec!["{\"a\":[{}]}", "{\"a\":[{}]}"], "{\"a\":[{}]}", true),
            (vec!["", " ", "{}"], " {}", true),
            (vec!["{}\n", "  "], "{}", true),
            (vec!["{\"a\": 1"], "{\"a\": 1", false),
            (vec!["null"], "", false),
            (vec![""], "", false),
            (vec!["\"{\\\"a\\\"", ":1}\""], "{\"a\":1}", false),
            (vec!["[1]"], "[1]", false),
        ] {
            let mut arguments = Arguments::default();
            let mut given = String::new();
            for piece in &pieces {
                arguments.push(piece);
                given += &arguments.take();
            }
            assert_eq!(arguments.is_complete(), complete, "{pieces:?}");
            given += &arguments.finish();
            assert_eq!(given, expected, "{pieces:?}");
        }
    }
}
