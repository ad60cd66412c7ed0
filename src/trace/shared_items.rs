//! Redacting and spelling many traces. Each request of a conversation repeats the one before: what they share is redacted once.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use memchr::{memchr, memmem};
use serde::ser::Error as _;
use serde_json::Value;

use super::outline::LISTS;
use super::redact::Redactor;
use super::{Trace, TraceError, json_weight, redact_trace};
use crate::files::{Access, folder_of, make_private_folder, write_whole};

/// The most that is remembered, in bytes. Beyond it, everything is forgotten.
const MAX_KNOWN: usize = 64 << 20;

/// How far the fields of a request's body are indented in a trace's file, and the items of its lists.
const FIELD: usize = 6;
const ITEM: usize = 8;

/// Redacts traces with one redactor, and spells them as their files have them.
pub(crate) struct SharedRedactor {
    redactor: Redactor,
    hashes: RandomState,
    known: RwLock<Known>,
}

/// The items so far.
#[derive(Default)]
struct Known {
    /// By their list's name and their hash. Of two items with one hash the later one is here.
    items: HashMap<(&'static str, u64), Arc<KnownItem>>,
    size: usize,
}

/// An item that came before.
struct KnownItem {
    original: Value,
    /// How it is spelled, redacted.
    spelled: Vec<u8>,
}

impl SharedRedactor {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, hashes: RandomState::new(), known: RwLock::default() }
    }

    /// The redactor alone.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The text of a trace's file, as [`write`](super::write) would write the redacted trace into this file.
    ///
    /// # Errors
    /// It cannot be spelled as JSON.
    pub(crate) fn spelled(&self, trace: Trace, path: &Path) -> Result<Vec<u8>, TraceError> {
        self.text(trace).map_err(|error| TraceError::io("write", path)(error.into()))
    }

    fn text(&self, mut trace: Trace) -> serde_json::Result<Vec<u8>> {
        let mut lists: HashMap<&'static str, Vec<Value>> = HashMap::new();
        for (name, value) in trace.request.body.as_object_mut().into_iter().flatten() {
            if let (Some(list), Value::Array(items)) = (LISTS.into_iter().find(|list| list == name), value) {
                lists.insert(list, std::mem::take(items));
            }
        }
        redact_trace(&mut trace, &self.redactor);
        let mut text = match (&mut trace.request.body, lists.is_empty()) {
            (body @ Value::Object(_), false) => {
                let body = body.take();
                let body = self.body(&body, lists)?;
                let without = serde_json::to_vec_pretty(&trace)?;
                // The only field at this depth before the response, and the last of the request.
                let place = memmem::find(&without, b"\n    \"body\": null\n").map(|at| at + "\n    \"body\": ".len());
                let place = place.ok_or_else(|| serde_json::Error::custom("the request has no place for its body"))?;
                [&without[..place], &body, &without[place + "null".len()..]].concat()
            }
            _ => serde_json::to_vec_pretty(&trace)?,
        };
        text.push(b'\n');
        Ok(text)
    }

    /// A request's body, with these lists.
    fn body(&self, body: &Value, mut lists: HashMap<&'static str, Vec<Value>>) -> serde_json::Result<Vec<u8>> {
        let mut text = Vec::from(b"{");
        let mut between: &[u8] = b"\n      ";
        for (name, value) in body.as_object().into_iter().flatten() {
            text.extend_from_slice(between);
            between = b",\n      ";
            serde_json::to_writer(&mut text, name)?;
            text.extend_from_slice(b": ");
            match lists.remove_entry(&**name) {
                Some((list, items)) => self.list(list, items, &mut text)?,
                None => indented(&serde_json::to_vec_pretty(value)?, FIELD, &mut text),
            }
        }
        text.extend_from_slice(b"\n    }");
        Ok(text)
    }

    fn list(&self, list: &'static str, items: Vec<Value>, text: &mut Vec<u8>) -> serde_json::Result<()> {
        if items.is_empty() {
            text.extend_from_slice(b"[]");
            return Ok(());
        }
        let mut between: &[u8] = b"[\n        ";
        for item in items {
            text.extend_from_slice(between);
            between = b",\n        ";
            text.extend_from_slice(&self.item(list, item)?.spelled);
        }
        text.extend_from_slice(b"\n      ]");
        Ok(())
    }

    /// An item of a list, redacted. One that is known is found without spelling it.
    fn item(&self, list: &'static str, item: Value) -> serde_json::Result<Arc<KnownItem>> {
        let mut hasher = self.hashes.build_hasher();
        add(&item, &mut hasher);
        let key = (list, hasher.finish());
        // A thread that panicked left nothing half done: entries are added as a whole.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).items.get(&key).cloned();
        if let Some(known) = known.filter(|known| is_spelled_alike(&known.original, &item)) {
            return Ok(known);
        }
        let mut clean = item.clone();
        self.redactor.item_of(list, &mut clean);
        let alone = serde_json::to_vec_pretty(&clean)?;
        let mut spelled = Vec::new();
        indented(&alone, ITEM, &mut spelled);
        let size = json_weight(&alone) + alone.len() + spelled.len();
        let item = Arc::new(KnownItem { original: item, spelled });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.size > MAX_KNOWN {
            *known = Known::default();
        }
        known.size += size;
        known.items.insert(key, item.clone());
        Ok(item)
    }
}

/// Adds a value to a hash, with the order of its fields.
fn add(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(is) => hasher.write_u8(1 + u8::from(*is)),
        Value::Number(number) => hasher.write_u64(number.as_f64().unwrap_or_default().to_bits()),
        Value::String(text) => add_text(text, hasher),
        Value::Array(items) => {
            hasher.write_usize(items.len());
            items.iter().for_each(|item| add(item, hasher));
        }
        Value::Object(fields) => {
            hasher.write_usize(fields.len());
            for (name, value) in fields {
                add_text(name, hasher);
                add(value, hasher);
            }
        }
    }
}

fn add_text(text: &str, hasher: &mut impl Hasher) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

/// Whether two values are the same JSON text. Equal ones may not be: their fields may have another order.
fn is_spelled_alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            // 0 is equal to -0.
            one == other && one.as_f64().map(f64::to_bits) == other.as_f64().map(f64::to_bits)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_spelled_alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let mut fields = one.iter().zip(other);
            one.len() == other.len() && fields.all(|(one, other)| one.0 == other.0 && is_spelled_alike(one.1, other.1))
        }
        _ => one == other,
    }
}

/// Writes the text of a trace that can be made again. After a crash of the machine it may be empty.
///
/// # Errors
/// The folder or the file cannot be written.
pub(crate) fn write_spelled(path: &Path, text: &[u8]) -> Result<(), TraceError> {
    let folder = folder_of(path);
    make_private_folder(folder).map_err(TraceError::io("make the folder", folder))?;
    write_whole(path, text, Access::Owner).map_err(TraceError::io("write", path))
}

/// Adds a JSON text whose lines after the first are indented by so much more. Line ends in texts are escaped, so all are between
/// values.
fn indented(json: &[u8], by: usize, text: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(end) = memchr(b'\n', rest) {
        text.extend_from_slice(&rest[..=end]);
        text.resize(text.len() + by, b' ');
        rest = &rest[end + 1..];
    }
    text.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::trace::outline::tests::{body, json_value, trace};

    /// The same by way of the whole trace.
    fn expected(trace: &Trace, redactor: &Redactor) -> String {
        let mut trace = trace.clone();
        redact_trace(&mut trace, redactor);
        serde_json::to_string_pretty(&trace).unwrap() + "\n"
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_the_redacted_trace(bodies in prop::collection::vec(prop_oneof![4 => body(), 1 => json_value()], 1..4)) {
            let redactor = Redactor::default().knowing(&["abc".into()]);
            let shared = SharedRedactor::new(redactor.clone());
            for body in bodies.iter().chain(&bodies) {
                let trace: Trace = serde_json::from_value(trace(body.clone())).unwrap();
                prop_assert_eq!(String::from_utf8(shared.text(trace.clone()).unwrap()).unwrap(), expected(&trace, &redactor));
            }
        }
    }

    #[test]
    fn what_is_equal_and_spelled_otherwise_is_another_item() {
        let texts = [r#"{"a":1,"b":[0.5]}"#, r#"{"b":[0.5],"a":1}"#, r#"{"a":1.0,"b":[0.5]}"#, "0.0", "-0.0", "0", "[]", "{}"];
        let values = texts.map(|json| serde_json::from_str::<Value>(json).unwrap());
        for (at, one) in values.iter().enumerate() {
            for (nth, other) in values.iter().enumerate() {
                assert_eq!(is_spelled_alike(one, other), at == nth, "{one} {other}");
            }
        }
        let shared = SharedRedactor::new(Redactor::default());
        let spelled = values.clone().map(|value| shared.item("messages", value).unwrap().spelled.clone());
        for (value, spelled) in values.iter().zip(spelled) {
            assert_eq!(serde_json::from_slice::<Value>(&spelled).unwrap().to_string(), value.to_string());
        }
    }

    #[test]
    fn secrets_are_replaced_in_what_is_shared_and_in_what_is_not() {
        let secret = ["sk-ant-", "api03-Zk3vQ9xT1mB7wR5hJ2nF8cY4"].concat();
        let body = json!({"messages": [{"role": "user", "content": secret}], "tools": [], "metadata": {"key": secret},
            "system": [{"type": "text", "text": format!("Use {secret}")}]});
        let trace: Trace = serde_json::from_value(trace(body)).unwrap();
        let shared = SharedRedactor::new(Redactor::default());
        for _ in 0..2 {
            let text = String::from_utf8(shared.text(trace.clone()).unwrap()).unwrap();
            assert!(!text.contains("Zk3v") && text.matches("[redacted]").count() == 3, "{text}");
            assert_eq!(text, expected(&trace, &Redactor::default()));
        }
    }
}
