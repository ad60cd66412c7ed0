//! Redacting and spelling many traces. Each request of a conversation repeats the one before: what they share is redacted once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use memchr::{memchr, memmem};
use serde::ser::Error as _;
use serde_json::Value;

use super::outline::LISTS;
use super::redact::Redactor;
use super::{Trace, TraceError, redact_trace};

/// The most that is remembered, in bytes. Beyond it, everything is forgotten.
const MAX_KNOWN: usize = 64 << 20;

/// How far the fields of a request's body are indented in a trace's file, and the items of its lists.
const FIELD: usize = 6;
const ITEM: usize = 8;

/// Redacts traces with one redactor, and spells them as their files have them.
pub(crate) struct SharedRedactor {
    redactor: Redactor,
    known: RwLock<Known>,
}

/// The items so far.
#[derive(Default)]
struct Known {
    /// By their list's name, from their JSON as it was to how it is spelled.
    items: HashMap<&'static str, HashMap<Vec<u8>, Arc<[u8]>>>,
    size: usize,
}

impl SharedRedactor {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, known: RwLock::default() }
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
                let body = self.body(&body, &lists)?;
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
    fn body(&self, body: &Value, lists: &HashMap<&'static str, Vec<Value>>) -> serde_json::Result<Vec<u8>> {
        let mut text = Vec::from(b"{");
        let mut between: &[u8] = b"\n      ";
        for (name, value) in body.as_object().into_iter().flatten() {
            text.extend_from_slice(between);
            between = b",\n      ";
            serde_json::to_writer(&mut text, name)?;
            text.extend_from_slice(b": ");
            match lists.get_key_value(&**name) {
                Some((list, items)) => self.list(list, items, &mut text)?,
                None => indented(&serde_json::to_vec_pretty(value)?, FIELD, &mut text),
            }
        }
        text.extend_from_slice(b"\n    }");
        Ok(text)
    }

    fn list(&self, list: &'static str, items: &[Value], text: &mut Vec<u8>) -> serde_json::Result<()> {
        if items.is_empty() {
            text.extend_from_slice(b"[]");
            return Ok(());
        }
        let mut between: &[u8] = b"[\n        ";
        for item in items {
            text.extend_from_slice(between);
            between = b",\n        ";
            text.extend_from_slice(&self.item(list, item)?);
        }
        text.extend_from_slice(b"\n      ]");
        Ok(())
    }

    /// An item of a list, redacted.
    fn item(&self, list: &'static str, item: &Value) -> serde_json::Result<Arc<[u8]>> {
        let original = serde_json::to_vec_pretty(item)?;
        // A thread that panicked left nothing half done: entries are added as a whole.
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(spelled) = known.items.get(list).and_then(|items| items.get(&original)) {
            return Ok(spelled.clone());
        }
        drop(known);
        let mut clean = item.clone();
        self.redactor.item_of(list, &mut clean);
        let mut spelled = Vec::new();
        indented(&serde_json::to_vec_pretty(&clean)?, ITEM, &mut spelled);
        let spelled: Arc<[u8]> = spelled.into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.size > MAX_KNOWN {
            *known = Known::default();
        }
        known.size += original.len() + spelled.len();
        known.items.entry(list).or_default().insert(original, spelled.clone());
        Ok(spelled)
    }
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
