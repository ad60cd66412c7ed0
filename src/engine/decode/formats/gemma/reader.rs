//! Reads members in Gemma's notation as a JSON object.

use serde_json::{Value, json};

use super::MARK;
use crate::engine::decode::arguments::{ArgumentReader, escaped};
use crate::engine::decode::syntax::{Read, Unread, ending_with_start_of};

/// Reads members as they arrive, from after the brace that opens them, and writes them as a JSON object. JSON is read too.
pub(super) struct Members {
    /// The open objects and lists, the outermost first.
    open: Vec<Level>,
    place: Place,
    /// Whether the brace that opens the object has been written.
    begun: bool,
}

/// An open object or list.
struct Level {
    is_object: bool,
    /// How many members or items it has so far.
    items: usize,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Place {
    /// A key in an object or an item in a list, or the end of either.
    Item,
    /// After a key.
    Value,
    /// A comma, or the end of an object or list.
    After,
    /// Inside a string between marks, which is passed on as it arrives.
    Marked,
    /// Inside a JSON string; true after a backslash.
    Quoted(bool),
}

impl Members {
    pub(super) fn new() -> Self {
        Self { open: vec![Level { is_object: true, items: 0 }], place: Place::Item, begun: false }
    }

    /// Reads one step from `held` and appends to `json`; true if the object is complete.
    fn step(&mut self, held: &mut String, json: &mut String) -> Read<bool> {
        match self.place {
            Place::Item => {
                // Before the first member all may be text after all: nothing is taken until it is whole.
                let first = after_space(held).chars().next().ok_or(Unread::More)?;
                if matches!(first, '}' | ']') {
                    return Ok(self.close(held, json));
                }
                if first == ',' && self.begun {
                    skip_space(held);
                    held.drain(..1);
                    return Ok(false);
                }
                let is_object = self.open.last().is_some_and(|level| level.is_object);
                let key = if is_object { Some(take_key(held)?) } else { None };
                if let Some(level) = self.open.last_mut() {
                    json.push_str(if level.items == 0 { "" } else { ", " });
                    level.items += 1;
                }
                json.extend(key.map(|key| format!("{}: ", json!(key))));
                self.place = Place::Value;
            }
            Place::Value => self.start_value(held, json)?,
            Place::After => {
                skip_space(held);
                match held.chars().next().ok_or(Unread::More)? {
                    '}' | ']' => return Ok(self.close(held, json)),
                    // Whatever else stands here is no part of the notation.
                    other => drop(held.drain(..other.len_utf8())),
                }
                self.place = Place::Item;
            }
            Place::Marked => {
                let end = held.find(MARK);
                let certain = end.unwrap_or(held.len() - ending_with_start_of(held, MARK));
                json.push_str(&escaped(&held[..certain]));
                held.drain(..certain);
                end.ok_or(Unread::More)?;
                held.drain(..MARK.len());
                json.push('"');
                self.place = Place::After;
            }
            Place::Quoted(is_escaped) => {
                let c = held.chars().next().ok_or(Unread::More)?;
                held.drain(..c.len_utf8());
                // Line breaks belong in no JSON string.
                json.push_str(&if c.is_control() { escaped(&c.to_string()) } else { c.to_string() });
                self.place = match c {
                    '"' if !is_escaped => Place::After,
                    '\\' => Place::Quoted(!is_escaped),
                    _ => Place::Quoted(false),
                };
            }
        }
        Ok(false)
    }

    fn start_value(&mut self, held: &mut String, json: &mut String) -> Read<()> {
        skip_space(held);
        if MARK.starts_with(held.as_str()) {
            return Err(Unread::More);
        }
        if held.starts_with(MARK) {
            held.drain(..MARK.len());
            json.push('"');
            self.place = Place::Marked;
            return Ok(());
        }
        match held.chars().next().ok_or(Unread::More)? {
            first @ ('{' | '[') => {
                held.drain(..1);
                json.push(first);
                self.open.push(Level { is_object: first == '{', items: 0 });
                self.place = Place::Item;
            }
            '"' => {
                held.drain(..1);
                json.push('"');
                self.place = Place::Quoted(false);
            }
            _ => {
                let end = held.find([',', '}', ']']).ok_or(Unread::More)?;
                json.push_str(&as_json(held[..end].trim()));
                held.drain(..end);
                self.place = Place::After;
            }
        }
        Ok(())
    }

    /// Closes the innermost object or list, whichever of the two closing marks there is. True if it was the outermost.
    fn close(&mut self, held: &mut String, json: &mut String) -> bool {
        skip_space(held);
        held.drain(..1);
        let closed = self.open.pop();
        json.push(if closed.is_some_and(|level| level.is_object) { '}' } else { ']' });
        self.place = Place::After;
        self.open.is_empty()
    }
}

impl ArgumentReader for Members {
    fn read(&mut self, held: &mut String) -> (String, bool) {
        let mut json = String::new();
        loop {
            let step = self.step(held, &mut json);
            // The first brace comes with the first member, or with the last brace.
            if !json.is_empty() && !std::mem::replace(&mut self.begun, true) {
                json.insert(0, '{');
            }
            match step {
                Ok(false) => {}
                Ok(true) => return (json, true),
                Err(_) => return (json, false),
            }
        }
    }
}

fn after_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\n', '\r', '\t'])
}

fn skip_space(held: &mut String) {
    held.drain(..held.len() - after_space(held).len());
}

/// Takes a key and the colon after it.
fn take_key(held: &mut String) -> Read<String> {
    let text = after_space(held);
    let (key, rest) = if let Some(marked) = text.strip_prefix(MARK) {
        let (key, rest) = marked.split_once(MARK).ok_or(Unread::More)?;
        (key.to_owned(), rest)
    } else if text.starts_with('"') {
        quoted_key(text)?
    } else {
        let end = text.find(':').ok_or(Unread::More)?;
        (text[..end].trim_end().to_owned(), &text[end..])
    };
    let colon = held.len() - rest.len() + rest.find(':').ok_or(Unread::More)?;
    held.drain(..=colon);
    Ok(key)
}

/// A key that is a JSON string, and the text after it. What is no JSON stands for itself.
fn quoted_key(text: &str) -> Read<(String, &str)> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closing = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closing
    });
    let (quoted, rest) = text.split_at(end.ok_or(Unread::More)? + 2);
    Ok((serde_json::from_str(quoted).unwrap_or_else(|_| quoted[1..quoted.len() - 1].to_owned()), rest))
}

/// Whether a key without marks is read as what it is.
pub(super) fn stands_bare(name: &str) -> bool {
    !name.starts_with(['}', ']', ',']) && take_key(&mut format!("{name}:")).is_ok_and(|read| read == name)
}

/// A value without marks as JSON text: unchanged if it is JSON, translated if it is Python's `True`, `False` or `None`, otherwise as
/// a string.
fn as_json(text: &str) -> String {
    match text {
        "" | "None" => "null".into(),
        "True" => "true".into(),
        "False" => "false".into(),
        value if serde_json::from_str::<Value>(value).is_ok() => value.into(),
        _ => json!(text).to_string(),
    }
}
