//! The part of an answer that snapshots pin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::trace::redact::Redactor;
use crate::trace::{CallEnd, is_malformed, is_readable};
use crate::wire::{ContentBlock, Message, StopReason};

/// The tool calls of an answer and why it stopped. Ids and text are not part of it: they may differ freely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// `None` if the answer broke off.
    pub stop_reason: Option<StopReason>,
    /// The `tool_use` content blocks, in order.
    pub tool_use: Vec<ToolUse>,
}

/// A `tool_use` content block without its id. The order of the arguments' keys does not count in comparisons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolUse {
    /// The tool's name.
    pub name: String,
    /// The arguments. If `max_tokens` cut them off, a string with the beginning of their JSON.
    pub input: Value,
}

impl Outcome {
    /// The content of a snapshot file: indented JSON with sorted keys, without a newline at the end.
    pub fn to_text(&self) -> String {
        // Strings and JSON values only: serializing them cannot fail.
        serde_json::to_string_pretty(&self.sorted()).unwrap_or_default()
    }

    /// The same with sorted keys of arguments.
    pub(super) fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        for call in &mut sorted.tool_use {
            call.input.sort_all_objects();
        }
        sorted
    }

    /// The outcome without secrets, as it may be written to files.
    pub fn redacted(mut self) -> Self {
        let redactor = Redactor::installed();
        for call in &mut self.tool_use {
            redactor.json(&mut call.input);
        }
        self
    }

    /// The first call whose arguments are no JSON object, and that no limit cut off. Those that are nested too deep for a file are
    /// a string here, and no mistake of the server.
    pub fn malformed_call(&self) -> Option<&ToolUse> {
        let last = self.tool_use.len().saturating_sub(1);
        let end = |at: usize| CallEnd::of(self.stop_reason.as_ref(), at == last);
        let mut calls = self.tool_use.iter().enumerate();
        calls.find(|(at, call)| is_malformed(&call.input, end(*at)) && !is_too_deep(&call.input)).map(|(_, call)| call)
    }

    /// The names of the called tools, in order.
    pub fn tool_names(&self) -> Vec<&str> {
        self.tool_use.iter().map(|call| call.name.as_str()).collect()
    }
}

impl From<&Message> for Outcome {
    fn from(message: &Message) -> Self {
        let tool_use = message.content.iter().filter_map(|block| match block {
            ContentBlock::ToolUse { name, input, .. } => Some(ToolUse { name: name.clone(), input: pinned(input) }),
            _ => None,
        });
        Self { stop_reason: message.stop_reason.clone(), tool_use: tool_use.collect() }
    }
}

/// Arguments as they stand in snapshots and reports: as a string, if they are nested so deep that those could not be read again.
fn pinned(input: &Value) -> Value {
    let json = input.to_string();
    if fits(&json) { input.clone() } else { Value::String(json) }
}

/// Whether these are arguments that [`pinned`] made a string.
fn is_too_deep(input: &Value) -> bool {
    input.as_str().is_some_and(|json| !fits(json))
}

/// How many lists and objects are around the arguments where most are. That is the report of several backends: report, list,
/// backend, its report, list, case, list, measurement, outcome, list, call. A snapshot has fewer.
const AROUND_INPUT: usize = 11;

fn fits(json: &str) -> bool {
    is_readable(json.as_bytes(), AROUND_INPUT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(content: Value) -> Message {
        serde_json::from_value(json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "tool_use",
        }))
        .unwrap()
    }

    #[test]
    fn arguments_that_could_not_be_read_again_are_a_string() {
        for (depth, is_list) in [(116, true), (117, false)] {
            let input = (1..depth).fold(json!([]), |inner, _| json!([inner]));
            let outcome = Outcome::from(&message(json!([{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": input}])));
            assert_eq!(outcome.tool_use[0].input.is_array(), is_list, "{depth}");
            // A list is no object, but what is too deep was not looked at.
            assert_eq!(outcome.malformed_call().is_some(), is_list, "{depth}");
            let call = serde_json::to_value(&outcome.tool_use[0]).unwrap();
            let report = (1..AROUND_INPUT).fold(call, |inner, _| json!([inner])).to_string();
            assert!(serde_json::from_str::<Value>(&report).is_ok(), "{depth}");
        }
    }

    #[test]
    fn an_outcome_keeps_the_calls_in_order_without_ids_and_text() {
        let outcome = Outcome::from(&message(json!([
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"limit": 5, "file_path": "a.txt"}},
            {"type": "tool_use", "id": "toolu_2", "name": "Bash", "input": {"command": "ls"}},
        ])));
        insta::assert_snapshot!(outcome.to_text(), @r#"
        {
          "stop_reason": "tool_use",
          "tool_use": [
            {
              "name": "Read",
              "input": {
                "file_path": "a.txt",
                "limit": 5
              }
            },
            {
              "name": "Bash",
              "input": {
                "command": "ls"
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn arguments_lose_their_secrets() {
        let key = format!("sk-ant-{}", "api03-abcdefgh");
        let outcome = Outcome::from(&message(json!([
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": format!("curl -H 'x-api-key: {key}' a.example")}},
        ])));
        let text = outcome.redacted().to_text();
        assert!(!text.contains("api03") && text.contains("[redacted]"), "{text}");
    }

    #[test]
    fn the_order_of_argument_keys_does_not_matter_but_the_order_of_calls_does() {
        let call = |name: &str, input: Value| json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": input});
        let read = Outcome::from(&message(json!([call("Read", json!({"a": 1, "b": 2})), call("Bash", json!({}))])));
        let same = Outcome::from(&message(json!([call("Read", json!({"b": 2, "a": 1})), call("Bash", json!({}))])));
        let swapped = Outcome::from(&message(json!([call("Bash", json!({})), call("Read", json!({"a": 1, "b": 2}))])));
        assert_eq!(read, same);
        assert_eq!(read.to_text(), same.to_text());
        assert_ne!(read, swapped);
    }
}
