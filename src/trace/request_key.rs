//! Telling whether two requests ask the same, though they may be written in other words of the protocol.
//!
//! What has no meaning for the answer does not count: the billing header, `cache_control`, `metadata`, whether it is streamed, the
//! ids of tool calls (but which result belongs to which call), whether a text is the one block that it stands for, and the order
//! of keys.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Outline;
use crate::wire::without_billing_header;

/// What an item of a list asks: a system block, a tool or a message.
pub struct ItemKey {
    /// `None` if it asks nothing.
    digest: Option<[u8; 32]>,
    /// The ids of tool calls in it, in order.
    ids: Vec<String>,
}

/// The fields of a request's body without a meaning for the answer.
const IDLE: [&str; 3] = ["metadata", "stream", "cache_control"];

impl ItemKey {
    /// Of an item of the list with this name.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn read(list: &str, json: &[u8]) -> serde_json::Result<Self> {
        Ok(Self::of(list, serde_json::from_slice(json)?))
    }

    fn of(list: &str, mut item: Value) -> Self {
        let mut ids = Vec::new();
        let asks = match list {
            "messages" => {
                message(&mut item, &mut ids);
                true
            }
            "system" => block(&mut item, true, &mut ids),
            _ => {
                without_cache_control(&mut item);
                true
            }
        };
        item.sort_all_objects();
        Self { digest: asks.then(|| Sha256::digest(item.to_string()).into()), ids }
    }
}

impl Outline<ItemKey> {
    /// A digest of what the request asks. Requests with the same one ask the same.
    pub fn request_key(&self) -> [u8; 32] {
        let request = &self.trace.request;
        let mut head = request.body.clone();
        let mut lists: BTreeMap<&str, Vec<ItemKey>> = BTreeMap::new();
        if let Value::Object(fields) = &mut head {
            fields.retain(|name, value| !IDLE.contains(&&**name) && !value.is_null() && !is_empty_list(value));
            // A text is the one block that it stands for.
            if let Some(Value::String(text)) = fields.get("system") {
                lists.insert("system", vec![ItemKey::of("system", json!({"type": "text", "text": text}))]);
                fields.remove("system");
            }
        }
        head.sort_all_objects();
        let route = request.path.split_once('?').map_or(&*request.path, |(route, _)| route);
        let mut hash = Sha256::new();
        hash.update(json!([request.method, route, head]).to_string());
        let mut numbers = HashMap::new();
        let read: BTreeMap<&str, Vec<&ItemKey>> = self
            .lists
            .iter()
            .map(|list| (list.name, list.items.iter().map(|item| &**item).collect()))
            .chain(lists.iter().map(|(name, items)| (*name, items.iter().collect())))
            .collect();
        for (name, items) in read {
            if items.iter().all(|item| item.digest.is_none()) {
                continue;
            }
            hash.update(name);
            for ItemKey { digest, ids } in items {
                hash.update(digest.as_ref().map_or(&[][..], |digest| digest));
                for id in ids {
                    let next = numbers.len();
                    hash.update(numbers.entry(id).or_insert(next).to_le_bytes());
                }
            }
        }
        hash.finalize().into()
    }
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

/// Brings a message of the Messages API into one form. One of another protocol stays as it is.
fn message(item: &mut Value, ids: &mut Vec<String>) {
    let is_system = item["role"] == "system";
    let Some(fields) = item.as_object_mut() else { return };
    let Some(content) = fields.get_mut("content") else { return };
    if content.is_string() {
        *content = json!([{"type": "text", "text": content.take()}]);
    }
    if let Value::Array(blocks) = content {
        blocks.retain_mut(|item| block(item, is_system, ids));
    }
}

/// Brings a content block into one form; whether it says anything.
fn block(block: &mut Value, is_instruction: bool, ids: &mut Vec<String>) -> bool {
    without_cache_control(block);
    let Some(fields) = block.as_object_mut() else { return true };
    if is_instruction && let Some(Value::String(text)) = fields.get("text") {
        let Some(rest) = without_billing_header(text).map(|rest| rest.into_owned()) else { return false };
        fields.insert("text".into(), rest.into());
    }
    let id = match fields.get("type").and_then(Value::as_str) {
        Some(kind) if kind.ends_with("tool_use") => take_id(fields, "id"),
        Some(kind) if kind.ends_with("tool_result") => take_id(fields, "tool_use_id"),
        _ => None,
    };
    ids.extend(id);
    if let Some(Value::Array(inside)) = fields.get_mut("content") {
        inside.iter_mut().for_each(without_cache_control);
    }
    true
}

fn take_id(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.get_mut(name)?.take() {
        Value::String(id) => Some(id),
        other => Some(other.to_string()),
    }
}

fn without_cache_control(item: &mut Value) {
    if let Some(fields) = item.as_object_mut() {
        fields.remove("cache_control");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::outline::tests::trace;
    use crate::trace::{Trace, outlines};

    fn key(body: &Value) -> [u8; 32] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0001.json");
        let trace: Trace = serde_json::from_value(trace(body.clone())).unwrap();
        crate::trace::write(&path, &trace).unwrap();
        outlines(
            &[path],
            |list: &str, _: usize, json: &[u8]| ItemKey::read(list, json),
            |_, outline| outline.unwrap().request_key(),
        )
        .remove(0)
    }

    /// A conversation with two calls, whose ids these are, and their results in this order.
    fn calls(ids: [&str; 2], results: [&str; 2]) -> Value {
        let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "Read", "input": {"a": 1, "id": "x"}});
        let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "same"});
        json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ids.map(call)},
            {"role": "user", "content": results.map(result)}]})
    }

    #[test]
    fn what_has_no_meaning_for_the_answer_does_not_count() {
        let plain = json!({"model": "m", "system": "Help.", "messages": [{"role": "user", "content": "Hi"}]});
        let cached = json!({"type": "ephemeral"});
        let same = json!({"stream": true, "metadata": {"user_id": "u"}, "tools": [], "thinking": null,
            "messages": [{"content": [{"cache_control": cached, "type": "text", "text": "Hi"}], "role": "user"}],
            "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=2;"},
                {"type": "text", "text": "Help.", "cache_control": cached}], "model": "m"});
        assert_eq!(key(&plain), key(&same));
        for (place, value) in [("/model", json!("n")), ("/system", json!("Help!")), ("/messages/0/content", json!("Ho"))] {
            let mut other = plain.clone();
            *other.pointer_mut(place).unwrap() = value;
            assert_ne!(key(&plain), key(&other), "{place}");
        }
    }

    #[test]
    fn ids_are_names_that_tell_which_result_is_of_which_call() {
        assert_eq!(key(&calls(["a", "b"], ["a", "b"])), key(&calls(["c", "d"], ["c", "d"])));
        assert_ne!(key(&calls(["a", "b"], ["a", "b"])), key(&calls(["a", "b"], ["b", "a"])));
        let mut other = calls(["a", "b"], ["a", "b"]);
        other["messages"][1]["content"][0]["input"]["id"] = "y".into();
        assert_ne!(key(&calls(["a", "b"], ["a", "b"])), key(&other));
    }
}
