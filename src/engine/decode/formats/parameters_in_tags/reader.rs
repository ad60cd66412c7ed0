//! Reads tags as the members of a JSON object.

use serde_json::{Value, json};

use super::{ParameterTags, ValueLayout};
use crate::engine::decode::arguments::{ArgumentReader, escaped};
use crate::engine::decode::formats::declared::{declared, is_string, resolve};
use crate::engine::decode::syntax::{Cursor, Read, Unread, ending_with_start_of};
use crate::wire::Tool;

/// Reads parameters as they arrive, and writes them as a JSON object.
pub(in crate::engine::decode::formats) struct Parameters {
    tags: &'static ParameterTags,
    /// The parameters of the tool's schema, in its order, and whether each is a string.
    declared: Vec<(String, bool)>,
    /// The tags that end the current value if its own closing tag is missing.
    next: Vec<String>,
    state: ParameterState,
    /// How many members have been written.
    written: usize,
}

enum ParameterState {
    /// Outside a parameter.
    Between,
    /// Right after a parameter's tag; true if the parameter is a string.
    Start(bool),
    /// Inside a string, which is passed on as it arrives.
    Text,
    /// Inside any other value, which must be whole before it can be read: JSON, or a string if it is not valid
    /// JSON.
    Json,
}

impl Parameters {
    /// A reader of the parameters of a tool. Without the tool, every value that is valid JSON is read as JSON.
    pub(in crate::engine::decode::formats) fn of(tags: &'static ParameterTags, tool: Option<&Tool>) -> Self {
        let declared = tool.map(|tool| &tool.input_schema).into_iter().flat_map(|root| {
            let is_string = |schema| is_string(resolve(schema, root));
            declared(root).into_iter().map(move |(name, schema)| (name.to_owned(), is_string(schema)))
        });
        Self { tags, declared: declared.collect(), next: Vec::new(), state: ParameterState::Between, written: 0 }
    }

    /// Reads one step from `held` and appends to `json`; true if the arguments are complete.
    fn step(&mut self, held: &mut String, json: &mut String) -> Read<bool> {
        match self.state {
            ParameterState::Between => {
                let mut cursor = Cursor::new(held);
                let which = match self.tags.end {
                    Some(end) => cursor.either(&[self.tags.open, end]),
                    None => cursor.either(&[self.tags.open]),
                };
                if which == Ok(0) {
                    let name = self.name(&mut cursor)?;
                    held.drain(..cursor.at());
                    json.push_str(if self.written == 0 { "{" } else { ", " });
                    json.push_str(&format!("{}: ", json!(name)));
                    self.written += 1;
                    let known = self.declared.iter().position(|(declared, _)| *declared == name);
                    let later = &self.declared[known.map_or(0, |at| at + 1)..];
                    self.next = match self.tags.layout {
                        ValueLayout::OwnLines => later.iter().map(|(next, _)| self.tags.forgotten_end(next)).collect(),
                        ValueLayout::Inline => vec![],
                    };
                    self.state = ParameterState::Start(known.is_some_and(|at| self.declared[at].1));
                    return Ok(false);
                }
                if which == Err(Unread::More) {
                    return Err(Unread::More);
                }
                // Anything but a parameter ends the arguments. Whoever reads the tail finds out what it is.
                if which.is_ok() {
                    held.drain(..cursor.at());
                }
                json.push_str(if self.written == 0 { "{}" } else { "}" });
                Ok(true)
            }
            ParameterState::Start(is_string) => {
                let first = held.chars().next().ok_or(Unread::More)?;
                if first == '\n' && self.tags.layout == ValueLayout::OwnLines {
                    held.drain(..1);
                }
                self.state = if is_string { ParameterState::Text } else { ParameterState::Json };
                json.push_str(if is_string { "\"" } else { "" });
                Ok(false)
            }
            ParameterState::Text => {
                let end = held.find(self.tags.close);
                if let Some(text) = self.take_value(held, end) {
                    json.push_str(&escaped(&text));
                    json.push('"');
                    self.state = ParameterState::Between;
                    return Ok(false);
                }
                let undecided = self.undecided(held);
                let rest = held.split_off(held.len() - undecided);
                json.push_str(&escaped(&std::mem::replace(held, rest)));
                Err(Unread::More)
            }
            ParameterState::Json => {
                let end = outside_strings(held, self.tags.close);
                let text = self.take_value(held, end).ok_or(Unread::More)?;
                json.push_str(&as_json(&text));
                self.state = ParameterState::Between;
                Ok(false)
            }
        }
    }

    /// Reads a parameter's name up to its value. What stands between them may be incomplete: models forget it.
    fn name(&self, cursor: &mut Cursor) -> Read<String> {
        let [after, more @ ..] = self.tags.after_name else { return Err(Unread::No) };
        let name = cursor.until(after)?.trim().to_owned();
        for word in more {
            cursor.option(word)?;
        }
        Ok(name)
    }

    /// Removes the value and its end from `held`, and returns the value; `None` if its end has not arrived. `close`: where its
    /// closing tag is.
    fn take_value(&self, held: &mut String, close: Option<usize>) -> Option<String> {
        let own = close.map(|at| (at, self.tags.close.len()));
        let forgotten = self.next.iter().filter_map(|tag| Some((held.find(tag)? + 1, 0)));
        let (at, end) = own.into_iter().chain(forgotten).min()?;
        let value = &held[..at];
        let value = match self.tags.layout {
            ValueLayout::OwnLines => value.strip_suffix('\n').unwrap_or(value),
            ValueLayout::Inline => value,
        };
        let value = value.to_owned();
        held.drain(..at + end);
        Some(value)
    }

    /// How many bytes at the end of the text might be the beginning of the value's end.
    fn undecided(&self, text: &str) -> usize {
        let close = self.tags.close.to_owned();
        let own = match self.tags.layout {
            ValueLayout::OwnLines => vec![format!("\n{close}"), close],
            ValueLayout::Inline => vec![close],
        };
        own.iter().chain(&self.next).map(|end| ending_with_start_of(text, end)).max().unwrap_or(0)
    }
}

impl ArgumentReader for Parameters {
    fn read(&mut self, held: &mut String) -> (String, bool) {
        let mut json = String::new();
        loop {
            match self.step(held, &mut json) {
                Ok(false) => {}
                Ok(true) => return (json, true),
                Err(_) => return (json, false),
            }
        }
    }
}

/// Where the tag is that closes a value of JSON: its strings may contain the same text. Anything but a list, an object or a string
/// of JSON ends at the first such text.
fn outside_strings(text: &str, tag: &str) -> Option<usize> {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return text.find(tag);
    }
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        // A tag begins with an ASCII character, so it begins between characters.
        if !in_string && text.as_bytes()[at..].starts_with(tag.as_bytes()) {
            return Some(at);
        }
        in_string ^= byte == b'"' && !escaped;
        escaped = in_string && byte == b'\\' && !escaped;
    }
    None
}

/// The value as JSON text: unchanged if it is JSON, translated if it is Python's `True`, `False` or `None`,
/// otherwise as a string.
fn as_json(text: &str) -> String {
    match text.trim() {
        "True" => "true".into(),
        "False" => "false".into(),
        "None" => "null".into(),
        value if serde_json::from_str::<Value>(value).is_ok() => value.into(),
        _ => json!(text).to_string(),
    }
}
