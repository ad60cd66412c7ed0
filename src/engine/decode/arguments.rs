//! The arguments of an open call: from the model's notation to JSON text.

use std::ops::Range;

use serde_json::{Value, json};

use super::syntax::{Cursor, JsonScan, Read, Unread};
use crate::wire::Tool;

/// Starts reading a call's arguments, which begin at the cursor or after whitespace there. `tool` is the tool being called, if it
/// is known. The cursor moves to where the reader goes on.
///
/// # Errors
/// The text is something else, or has not arrived.
pub(super) type StartArguments = fn(cursor: &mut Cursor, tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>>;

/// Starts reading a JSON object.
pub(super) fn json_object(cursor: &mut Cursor, _tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>> {
    match cursor.peek()? {
        '{' => Ok(Box::new(ObjectReader::default())),
        _ => Err(Unread::No),
    }
}

/// Starts reading a JSON object, or a JSON string that holds one.
pub(super) fn json_object_or_string(cursor: &mut Cursor, tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>> {
    match cursor.peek()? {
        '"' => Ok(Box::new(QuotedReader::default())),
        _ => json_object(cursor, tool),
    }
}

/// The range of the first JSON object in the text, or of the JSON string that holds it.
pub(super) fn find_json_arguments(text: &str) -> Option<Range<usize>> {
    let brace = text.find('{')?;
    let start = if text[..brace].ends_with('"') { brace - 1 } else { brace };
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    values.next()?.ok()?;
    Some(start..start + values.byte_offset())
}

/// Reads the arguments of one call as they come.
pub trait ArgumentReader: Send {
    /// Takes as much of the held text as can be decided. Returns JSON text, and whether the arguments are complete.
    fn read(&mut self, held: &mut String) -> (String, bool);
}

/// A JSON object: passed on as it is.
#[derive(Default)]
pub(super) struct ObjectReader(JsonScan);

impl ArgumentReader for ObjectReader {
    fn read(&mut self, held: &mut String) -> (String, bool) {
        let end = held.bytes().position(|byte| self.0.feed(byte));
        let rest = held.split_off(end.map_or(held.len(), |end| end + 1));
        (std::mem::replace(held, rest), end.is_some())
    }
}

/// A JSON string that holds an object: passed on decoded.
#[derive(Default)]
pub(super) struct QuotedReader {
    started: bool,
}

impl ArgumentReader for QuotedReader {
    fn read(&mut self, held: &mut String) -> (String, bool) {
        if !self.started {
            held.drain(..1);
            self.started = true;
        }
        read_quoted(held)
    }
}

/// Takes the complete characters and escapes of a JSON string, up to and including its closing quote. Returns them decoded, and
/// whether the closing quote was there. Each is decoded by itself, so that the text is the same however it is split: a faulty
/// escape stays as it was written, and changes no other.
fn read_quoted(held: &mut String) -> (String, bool) {
    let (mut read, mut rest) = (String::with_capacity(held.len()), held.as_str());
    let mut end = false;
    while let Some(next) = rest.chars().next()
        && !end
    {
        let Some(length) = (if next == '\\' { escape_length(rest) } else { Some(next.len_utf8()) }) else { break };
        let (taken, behind) = rest.split_at(length);
        match next {
            '"' => end = true,
            '\\' => read.push_str(&serde_json::from_str::<String>(&format!("\"{taken}\"")).unwrap_or_else(|_| taken.to_owned())),
            _ => read.push(next),
        }
        rest = behind;
    }
    held.drain(..held.len() - rest.len());
    (read, end)
}

/// The length of the escape that this text begins with, in bytes; of a faulty one, how much of it no string would have. `None`: its
/// end has not arrived. Both halves of a surrogate pair are one escape.
fn escape_length(text: &str) -> Option<usize> {
    let marked = text[1..].chars().next()?;
    if marked != 'u' {
        return Some(1 + marked.len_utf8());
    }
    let hex: fn(&u8) -> bool = u8::is_ascii_hexdigit;
    let code = &text.as_bytes()[2..];
    if !begins_with(code, &[hex; 4])? {
        return Some(2);
    }
    let is_first_half = matches!(code, [b'd' | b'D', b'8' | b'9' | b'a' | b'A' | b'b' | b'B', ..]);
    if !is_first_half {
        return Some(6);
    }
    let second: [fn(&u8) -> bool; 6] = [
        |byte| *byte == b'\\',
        |byte| *byte == b'u',
        |byte| matches!(byte, b'd' | b'D'),
        |byte| matches!(byte, b'c'..=b'f' | b'C'..=b'F'),
        hex,
        hex,
    ];
    Some(if begins_with(&code[4..], &second)? { 12 } else { 6 })
}

/// Whether bytes begin as wanted; `None` if they end before that is known.
fn begins_with(bytes: &[u8], wanted: &[fn(&u8) -> bool]) -> Option<bool> {
    for (at, fits) in wanted.iter().enumerate() {
        if !fits(bytes.get(at)?) {
            return Some(false);
        }
    }
    Some(true)
}

/// The text as the inside of a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = json!(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_does_not_hide_the_closing_quote() {
        for (written, read) in [(r#""a\ud83d"}"#, r"a\ud83d"), (r#""\ud83d and more text"}"#, r"\ud83d and more text")] {
            let (mut held, mut reader) = (written.to_owned(), QuotedReader::default());
            assert_eq!(reader.read(&mut held), (read.to_owned(), true));
            assert_eq!(held, "}");
        }
    }

    /// What the string at the beginning of a text holds, if so many characters come at once; whether it ended, and what is behind it.
    fn read_in_steps(text: &str, step: usize) -> (String, bool, String) {
        let mut reader = QuotedReader::default();
        let (mut held, mut read, mut done) = (String::new(), String::new(), false);
        for characters in text.chars().collect::<Vec<_>>().chunks(step) {
            held.extend(characters);
            if !done && !held.is_empty() {
                let (text, end) = reader.read(&mut held);
                read.push_str(&text);
                done = end;
            }
        }
        (read, done, held)
    }

    #[test]
    fn a_quoted_object_is_decoded_however_it_is_split() {
        let object = json!({"a": "é🙂\"\\\n", "b": [1, {}]}).to_string();
        let with_escapes = json!(object).to_string().replace('🙂', "\\ud83d\\ude42").replace('é', "\\u00e9");
        let whole = format!("{with_escapes}}}");
        for step in 1..whole.len() {
            assert_eq!(read_in_steps(&whole, step), (object.clone(), true, "}".into()), "{step}");
        }
    }

    #[test]
    fn what_no_string_may_have_stays_and_changes_nothing_else() {
        let written = "\"\\\"\u{0}\\q\\u12é\\n\\ud83d\\ud83d\\ude42\\\\\"}";
        for step in 1..written.len() {
            let read = "\"\u{0}\\q\\u12é\n\\ud83d🙂\\".to_owned();
            assert_eq!(read_in_steps(written, step), (read, true, "}".into()), "{step}");
        }
    }
}
