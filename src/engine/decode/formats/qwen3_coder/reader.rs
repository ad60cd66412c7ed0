//! Reads `<parameter=…>` tags as the members of a JSON object.

use serde_json::{Value, json};

use super::parameters::{FUNCTION_END, PARAMETER, PARAMETER_END, declared, forgotten_end, is_string, resolve};
use crate::engine::decode::arguments::{ArgumentReader, escaped};
use crate::engine::decode::syntax::{Cursor, Read, Unread, ending_with_start_of};
use crate::wire::Tool;

/// Reads parameters as they arrive, and writes them as a JSON object.
pub(super) struct Parameters {
    /// The parameters of the tool's schema, in its order, and whether each is a string.
    declared: Vec<(String, bool)>,
    /// The tags that end the current value if its own `</parameter>` is missing.
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
    /// Starts reading parameters. Without the tool, every value that is valid JSON is read as JSON.
    pub(super) fn start(_cursor: &mut Cursor, tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>> {
        Ok(Box::new(Self::of(tool)))
    }

    fn of(tool: Option<&Tool>) -> Self {
        let declared = tool.map(|tool| &tool.input_schema).into_iter().flat_map(|root| {
            let is_string = |schema| is_string(resolve(schema, root));
            declared(root).into_iter().map(move |(name, schema)| (name.to_owned(), is_string(schema)))
        });
        Self { declared: declared.collect(), next: Vec::new(), state: ParameterState::Between, written: 0 }
    }

    /// Reads one step from `held` and appends to `json`; true if the arguments are complete.
    fn step(&mut self, held: &mut String, json: &mut String) -> Read<bool> {
        match self.state {
            ParameterState::Between => {
                let mut cursor = Cursor::new(held);
                let which = cursor.either(&[PARAMETER, FUNCTION_END]);
                if which == Ok(0) {
                    let name = cursor.until(">")?.to_owned();
                    held.drain(..cursor.at());
                    json.push_str(if self.written == 0 { "{" } else { ", " });
                    json.push_str(&format!("{}: ", json!(name)));
                    self.written += 1;
                    let known = self.declared.iter().position(|(declared, _)| *declared == name);
                    let later = &self.declared[known.map_or(0, |at| at + 1)..];
                    self.next = later.iter().map(|(next, _)| forgotten_end(next)).collect();
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
                if first == '\n' {
                    held.drain(..1);
                }
                self.state = if is_string { ParameterState::Text } else { ParameterState::Json };
                json.push_str(if is_string { "\"" } else { "" });
                Ok(false)
            }
            ParameterState::Text => {
                if let Some(text) = self.take_value(held) {
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
                let text = self.take_value(held).ok_or(Unread::More)?;
                json.push_str(&as_json(&text));
                self.state = ParameterState::Between;
                Ok(false)
            }
        }
    }

    /// Removes the value and its end from `held`, and returns the value; `None` if its end has not arrived.
    fn take_value(&self, held: &mut String) -> Option<String> {
        let own = held.find(PARAMETER_END).map(|at| (at, PARAMETER_END.len()));
        let forgotten = self.next.iter().filter_map(|tag| Some((held.find(tag)? + 1, 0)));
        let (at, end) = own.into_iter().chain(forgotten).min()?;
        let value = held[..at].strip_suffix('\n').unwrap_or(&held[..at]).to_owned();
        held.drain(..at + end);
        Some(value)
    }

    /// How many bytes at the end of the text might be the beginning of the value's end.
    fn undecided(&self, text: &str) -> usize {
        let own = [PARAMETER_END.to_owned(), format!("\n{PARAMETER_END}")];
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
