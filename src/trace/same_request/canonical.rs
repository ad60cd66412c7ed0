//! A request with all of it that counts.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::clean::{clean_item, counts, system_as_blocks};
use super::digest::{Digest, add, add_text};
use crate::trace::outline::LISTS;

/// What counts for the number of a prompt's tokens.
const PROMPT: [&str; 5] = ["model", "system", "tools", "tool_choice", "messages"];

/// A request's body without what does not count. In place of a call's id is its number.
#[derive(Clone, Debug, PartialEq)]
pub struct CanonicalRequest {
    fields: Map<String, Value>,
    /// The body, if it is no object: all of it counts.
    other: Option<Value>,
}

impl CanonicalRequest {
    /// Of a request's body.
    pub fn of(body: Value) -> Self {
        let mut fields = match body {
            Value::Object(fields) => fields,
            other => return Self { fields: Map::new(), other: Some(other) },
        };
        system_as_blocks(&mut fields);
        let mut calls: HashMap<String, usize> = HashMap::new();
        let mut numbered = |id: &mut Value| {
            let next = calls.len();
            *id = (*calls.entry(id.to_string()).or_insert(next)).into();
        };
        // Numbers are given in the order of the lists, whatever the order of the body's fields.
        for list in LISTS {
            if let Some(Value::Array(items)) = fields.get_mut(list) {
                items.retain_mut(|item| clean_item(list, item, &mut numbered));
            }
        }
        fields.retain(|name, value| counts(name, value));
        Self { fields, other: None }
    }

    /// The fields of the body.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The digest of all of it. Requests with the same one ask the same.
    pub fn key(&self) -> Digest {
        self.digest_of(|_| true)
    }

    /// The digest of what counts for the number of the prompt's tokens.
    pub fn prompt_key(&self) -> Digest {
        self.digest_of(|name| PROMPT.contains(&name))
    }

    fn digest_of(&self, is_wanted: impl Fn(&str) -> bool) -> Digest {
        let mut fields: Vec<_> = self.fields.iter().filter(|(name, _)| is_wanted(name)).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        let mut hash = Sha256::new();
        if let Some(other) = &self.other {
            add(other, &mut hash);
        }
        for (name, value) in fields {
            add_text(name, &mut hash);
            add(value, &mut hash);
        }
        hash.finalize().into()
    }
}
