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
/// whether the closing quote was there.
fn read_quoted(held: &mut String) -> (String, bool) {
    let mut length = 0;
    let bytes = held.as_bytes();
    let mut end = false;
    while let Some(byte) = bytes.get(length) {
        let step = match byte {
            b'"' => {
                end = true;
                break;
            }
            b'\\' if opens_pair(&bytes[length..]) => 12,
            b'\\' if bytes.get(length + 1) == Some(&b'u') => 6,
            b'\\' => 2,
            _ => 1,
        };
        if length + step > bytes.len() {
            break;
        }
        length += step;
    }
    while !held.is_char_boundary(length) {
        length -= 1;
    }
    let rest = held.split_off(length);
    let raw = std::mem::replace(held, rest);
    if end {
        held.drain(..1);
    }
    // Invalid escapes stay as they were written.
    let quoted = format!("\"{}\"", raw.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"));
    (serde_json::from_str(&quoted).unwrap_or(raw), end)
}

/// Whether this is `\ud8…` and what follows is, or could become, the second half of the surrogate pair.
fn opens_pair(bytes: &[u8]) -> bool {
    let first = matches!(bytes, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'A' | b'b' | b'B', ..]);
    let second = bytes.iter().skip(6).zip(b"\\ud").all(|(byte, wanted)| byte.eq_ignore_ascii_case(wanted));
    first && second
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

    #[test]
    fn a_quoted_object_is_decoded_however_it_is_split() {
        let object = json!({"a": "é🙂\"\\\n", "b": [1, {}]}).to_string();
        let with_escapes = json!(object).to_string().replace('🙂', "\\ud83d\\ude42").replace('é', "\\u00e9");
        let whole = format!("{with_escapes}}}");
        for step in 1..whole.len() {
            let mut reader = QuotedReader::default();
            let (mut held, mut read, mut done) = (String::new(), String::new(), false);
            for c in whole.chars().collect::<Vec<_>>().chunks(step) {
                held.extend(c);
                if !done && !held.is_empty() {
                    let (text, end) = reader.read(&mut held);
                    read.push_str(&text);
                    done = end;
                }
            }
            assert_eq!((read, done, held.as_str()), (object.clone(), true, "}"), "{step}");
        }
    }
}
