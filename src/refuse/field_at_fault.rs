//! Finds the innermost part of a body that cannot be read. Types with a tag, such as content blocks, are read as a whole, so the
//! parser knows no more than where the outermost of them begins. So the body is parsed again and again, each time without one
//! part: without the part at fault, the error is another one.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::plain_words::expects_name;

/// Most times that a body is parsed.
const MOST_ATTEMPTS: usize = 200;

/// The fields that decide how all beside them is read.
const TAGS: [&str; 2] = ["type", "role"];

/// The innermost part of a body that cannot be read.
pub(super) struct FieldAtFault {
    pub body: Value,
    /// The JSON pointer to the part. Of an object that lacks a field, it leads to the object.
    pub pointer: String,
    /// What is wrong with it, in the parser's words.
    pub reason: String,
}

/// The innermost part at fault, below the part that `pointer` leads to; `None` if the body can be read.
pub(super) fn innermost<T: DeserializeOwned>(body: Value, pointer: String) -> Option<FieldAtFault> {
    let reason = reason::<T>(&body)?;
    let mut search = FaultSearch::<T> { body, reason, attempts: 0, target: PhantomData };
    let missing = search.reason.strip_prefix("missing field `").and_then(|name| name.strip_suffix('`')).map(str::to_owned);
    let pointer = match missing {
        Some(name) => search.object_without(&name, &pointer).unwrap_or(pointer),
        None => search.deepest(pointer),
    };
    if expects_name(&search.reason) {
        search.name_names(&pointer);
    }
    let FaultSearch { body, reason, .. } = search;
    Some(FieldAtFault { body, pointer, reason })
}

/// Why a body cannot be read.
fn reason<T: DeserializeOwned>(body: &Value) -> Option<String> {
    T::deserialize(body).err().map(|error| error.to_string())
}

struct FaultSearch<T> {
    body: Value,
    /// Why the whole body cannot be read.
    reason: String,
    attempts: usize,
    target: PhantomData<T>,
}

impl<T: DeserializeOwned> FaultSearch<T> {
    /// Follows the part at fault from here on, as far as it goes.
    fn deepest(&mut self, mut pointer: String) -> String {
        while let Some(part) = self.parts(&pointer).into_iter().find(|part| self.is_at_fault(part)) {
            pointer = part;
        }
        let tag = TAGS.iter().find_map(|tag| Some((tag, self.body.pointer(&pointer)?.get(*tag)?)));
        match tag {
            Some((tag, value)) if !value.is_string() || self.reason.starts_with("unknown variant") => step_below(&pointer, tag),
            _ => pointer,
        }
    }

    /// Makes the reason list the names that may stand at the pointer, where something else than a name stands. The parser lists
    /// them only for a name that it does not know.
    fn name_names(&mut self, pointer: &str) {
        let Some(part) = self.body.pointer_mut(pointer) else { return };
        let given = std::mem::replace(part, Value::String(String::new()));
        if let Some(reason) = reason::<T>(&self.body).filter(|reason| reason.starts_with("unknown variant")) {
            self.reason = reason;
        }
        if let Some(part) = self.body.pointer_mut(pointer) {
            *part = given;
        }
    }

    /// The object at or below this pointer that lacks the required field: with it, the error is another one.
    fn object_without(&mut self, name: &str, pointer: &str) -> Option<String> {
        if let Some(Value::Object(fields)) = self.body.pointer_mut(pointer)
            && !fields.contains_key(name)
        {
            fields.insert(name.to_owned(), Value::String(String::new()));
            let is_changed = self.is_changed();
            if let Some(Value::Object(fields)) = self.body.pointer_mut(pointer) {
                fields.remove(name);
            }
            if is_changed {
                return Some(pointer.to_owned());
            }
        }
        self.parts(pointer).iter().find_map(|part| self.object_without(name, part))
    }

    /// Whether the error is another one without this part.
    fn is_at_fault(&mut self, part: &str) -> bool {
        let Some((around, step)) = part.rsplit_once('/') else { return false };
        let step = unescaped(step);
        match self.body.pointer_mut(around) {
            Some(Value::Object(fields)) => {
                let at = fields.keys().position(|name| *name == step).unwrap_or_default();
                let Some(value) = fields.shift_remove(&step) else { return false };
                let is_changed = self.is_changed();
                if let Some(Value::Object(fields)) = self.body.pointer_mut(around) {
                    fields.shift_insert(at, step, value);
                }
                is_changed
            }
            Some(Value::Array(items)) => {
                let Some(at) = step.parse().ok().filter(|at| *at < items.len()) else { return false };
                let value = items.remove(at);
                let is_changed = self.is_changed();
                if let Some(Value::Array(items)) = self.body.pointer_mut(around) {
                    items.insert(at, value);
                }
                is_changed
            }
            _ => false,
        }
    }

    /// Whether the body, as it is now, has another error or none. After too many attempts: no.
    fn is_changed(&mut self) -> bool {
        self.attempts += 1;
        self.attempts <= MOST_ATTEMPTS && reason::<T>(&self.body).as_ref() != Some(&self.reason)
    }

    /// Pointers to the parts directly inside of a part, without those that decide how the others are read.
    fn parts(&self, pointer: &str) -> Vec<String> {
        let inside = |step: &str| step_below(pointer, step);
        match self.body.pointer(pointer) {
            Some(Value::Object(fields)) => {
                fields.keys().filter(|name| !TAGS.contains(&name.as_str())).map(|name| inside(name)).collect()
            }
            Some(Value::Array(items)) => (0..items.len().min(MOST_ATTEMPTS)).map(|at| inside(&at.to_string())).collect(),
            _ => Vec::new(),
        }
    }
}

/// The pointer to a part directly inside of the part that `pointer` leads to.
pub(super) fn step_below(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The steps of a pointer.
pub(super) fn steps_of(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(unescaped).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::MessagesRequest;
    use crate::wire::openai::ChatRequest;

    #[test]
    fn the_innermost_field_of_a_content_block_is_found() {
        let found = |block: Value| {
            let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a"},
                {"role": "user", "content": [{"type": "text", "text": "b"}, block]}]});
            steps_of(&innermost::<MessagesRequest>(body, "/messages/1".into()).unwrap().pointer).join(".")
        };
        let at = |path: &str| format!("messages.1.content{path}");
        for (block, path) in [
            (json!({"type": "text", "text": 5}), ".1.text"),
            (json!({"type": "text"}), ".1"),
            (json!({"type": "tool_use", "id": 1, "name": "a", "input": {}}), ".1.id"),
            (json!({"type": "tool_use", "id": "t", "input": {}}), ".1"),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": {"a": 1}}), ".1.content"),
            (
                json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": null}]}),
                ".1.content.1.text",
            ),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}), ".1.content.0"),
            (json!({"type": "tool_result", "tool_use_id": "t", "content": ["a"]}), ".1.content.0"),
            (json!({"type": "thinking", "thinking": "a", "signature": 4}), ".1.signature"),
            (json!(7), ".1"),
        ] {
            assert_eq!(found(block.clone()), at(path), "{block}");
        }
    }

    #[test]
    fn the_innermost_field_of_a_chat_message_is_found() {
        for (message, path) in [
            (json!({"role": "user", "content": 7}), "content"),
            (json!({"role": "user", "content": [{"type": "text", "text": 7}]}), "content.0.text"),
            (json!({"role": "user", "content": [{"type": "text"}]}), "content.0"),
            (json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}), "content.0.image_url"),
            (json!({"role": "user", "content": [{"type": "hologram"}]}), "content.0.type"),
            (
                json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"arguments": "{}"}}]}),
                "tool_calls.0.function",
            ),
        ] {
            let body = json!({"model": "m", "messages": [message]});
            let pointer = innermost::<ChatRequest>(body, "/messages/0".into()).unwrap().pointer;
            assert_eq!(steps_of(&pointer).join("."), format!("messages.0.{path}"), "{message}");
        }
    }

    #[test]
    fn a_body_with_many_parts_is_parsed_a_bounded_number_of_times() {
        let mut block = json!({"type": "text"});
        (0..1_000).for_each(|at| block[format!("field{at}")] = json!({}));
        let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]});
        assert!(innermost::<MessagesRequest>(body, "/messages/0".into()).unwrap().pointer.starts_with("/messages/0"));
    }
}
