//! What of a request counts when its recording is looked for. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::trace::redact::Redactor;
use crate::wire::{MessagesRequest, System};

/// A request without what changes from run to run: the billing header, who asks, the marks of the cache; without how the answer is
/// sent; and without how long it may be, which clients set by what they know of a model's limits. A call's id is its number: it
/// counts which result belongs to which call. A text counts as the one block that it stands for. Secrets are as recordings have
/// them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canonical(pub Map<String, Value>);

/// The fields that do not count.
const LEFT_OUT: [&str; 3] = ["metadata", "stream", "max_tokens"];

/// What counts for the number of a prompt's tokens.
const PROMPT: [&str; 5] = ["model", "system", "tools", "tool_choice", "messages"];

impl Canonical {
    pub(super) fn of(request: &MessagesRequest, redactor: &Redactor) -> Self {
        let mut request = request.clone();
        request.system = request.system.map(|system| System::Text(system.text()));
        let mut body = serde_json::to_value(request).unwrap_or_default();
        let mut calls = HashMap::new();
        for name in ["messages", "tools"] {
            clean(&mut body[name], &mut calls);
        }
        redactor.json(&mut body);
        let Value::Object(mut fields) = body else { return Self(Map::new()) };
        fields.retain(|name, value| !value.is_null() && !LEFT_OUT.contains(&name.as_str()));
        Self(fields)
    }

    /// The digest of all of it.
    pub(super) fn key(&self) -> String {
        digest(&self.0)
    }

    /// The digest of what counts for the number of the prompt's tokens.
    pub(super) fn prompt_key(&self) -> String {
        let prompt = self.0.iter().filter(|(name, _)| PROMPT.contains(&name.as_str()));
        digest(&prompt.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

fn digest(fields: &Map<String, Value>) -> String {
    let mut sorted = Value::Object(fields.clone());
    sorted.sort_all_objects();
    format!("{:x}", Sha256::digest(sorted.to_string()))
}

/// Cleans messages, tools, or blocks of content, at any depth. Arguments and schemas are left as they are: a name in them means
/// what the tool says. `calls` has the number of each call met before, by its id.
fn clean(value: &mut Value, calls: &mut HashMap<String, usize>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, calls)),
        Value::Object(fields) => {
            fields.shift_remove("cache_control");
            let is_call = fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("tool_use"));
            for name in ["tool_use_id", "id"].iter().filter(|name| is_call || **name != "id") {
                if let Some(id @ Value::String(_)) = fields.get_mut(*name) {
                    let next = calls.len();
                    *id = (*calls.entry(id.as_str().unwrap_or_default().to_owned()).or_insert(next)).into();
                }
            }
            if let Some(content @ Value::String(_)) = fields.get_mut("content") {
                *content = json!([{"type": "text", "text": content.take()}]);
            }
            let inner = fields.iter_mut().filter(|(name, _)| !["input", "input_schema"].contains(&name.as_str()));
            inner.for_each(|(_, value)| clean(value, calls));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(fields: Value) -> Canonical {
        let mut body = json!({"model": "m", "max_tokens": 9, "messages": []});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Canonical::of(&serde_json::from_value(body).unwrap(), &Redactor::default())
    }

    #[test]
    fn what_changes_from_run_to_run_does_not_count() {
        let billing = |n: u32| {
            json!([
                {"type": "text", "text": format!("x-anthropic-billing-header: cc_version=2.1.{n}; cch={n};")},
                {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            ])
        };
        let call = |id: &str| {
            json!([
                {"role": "user", "content": "Read it"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Read", "input": {"id": 7}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "It.", "cache_control": {"type": "ephemeral"}}]},
            ])
        };
        let one =
            canonical(json!({"system": billing(1), "messages": call("toolu_1"), "metadata": {"user_id": "a"}, "stream": true}));
        let marked = json!([{"type": "text", "text": "Read it", "cache_control": {"type": "ephemeral"}}]);
        let mut messages = call("toolu_2");
        messages[0]["content"] = marked;
        messages[2]["content"][0]["content"] = json!([{"type": "text", "text": "It."}]);
        let other =
            canonical(json!({"system": billing(2), "messages": messages, "metadata": {"user_id": "b"}, "max_tokens": 64000}));
        assert_eq!((one.key(), one.prompt_key()), (other.key(), other.prompt_key()));
    }

    #[test]
    fn which_result_belongs_to_which_call_counts() {
        let asked = |ids: [&str; 2], results: [&str; 2]| {
            let calls = ids.map(|id| json!({"type": "tool_use", "id": id, "name": "Read", "input": {}}));
            let results = [(results[0], "one"), (results[1], "two")]
                .map(|(id, text)| json!({"type": "tool_result", "tool_use_id": id, "content": text}));
            canonical(json!({"messages": [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]})).key()
        };
        assert_eq!(asked(["a", "b"], ["a", "b"]), asked(["x", "y"], ["x", "y"]));
        assert_ne!(asked(["a", "b"], ["a", "b"]), asked(["a", "b"], ["b", "a"]));
    }

    #[test]
    fn everything_else_counts() {
        let call = |input: Value| {
            json!({"messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": input}]},
            ]})
        };
        let same_prompt = [json!({}), json!({"top_k": 8}), json!({"temperature": 1.0})].map(canonical);
        let keys: std::collections::HashSet<_> = same_prompt.iter().map(Canonical::key).collect();
        let prompts: std::collections::HashSet<_> = same_prompt.iter().map(Canonical::prompt_key).collect();
        assert_eq!((keys.len(), prompts.len()), (3, 1));
        // Arguments may have the names of what does not count elsewhere.
        let inputs = [json!({}), json!({"id": 1}), json!({"id": 2}), json!({"cache_control": 1}), json!({"content": "a"})];
        let keys: std::collections::HashSet<_> = inputs.iter().map(|input| canonical(call(input.clone())).key()).collect();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_secret_is_as_the_recorder_left_it() {
        let key = format!("sk-ant-{}", "api03-abcdefghijkl");
        let said = |text: &str| canonical(json!({"messages": [{"role": "user", "content": text}]}));
        assert_eq!(said(&format!("my key is {key}")), said("my key is [redacted]"));
    }
}
