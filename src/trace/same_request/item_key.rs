//! What a request asks, from what each item of its lists asks.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::clean::{clean_item, counts, system_as_blocks};
use super::digest::{Digest, add, add_text, digest};
use crate::trace::Outline;

/// What an item of a list asks: a system block, a tool or a message.
pub struct ItemKey {
    /// `None` if it asks nothing.
    digest: Option<Digest>,
    /// The ids of tool calls in it, in order.
    ids: Vec<String>,
}

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
        let says = clean_item(list, &mut item, &mut |id| ids.push(id.take().to_string()));
        Self { digest: says.then(|| digest(&item)), ids }
    }
}

impl Outline<ItemKey> {
    /// A digest of what the request asks, and of which endpoint. Requests with the same one ask the same.
    pub fn request_key(&self) -> Digest {
        let request = &self.trace.request;
        let route = request.path.split_once('?').map_or(&*request.path, |(route, _)| route);
        let mut hash = Sha256::new();
        add_text(&request.method, &mut hash);
        add_text(route, &mut hash);
        let mut head = request.body.clone();
        let mut alone: Vec<ItemKey> = Vec::new();
        if let Value::Object(fields) = &mut head {
            system_as_blocks(fields);
            if let Some(Value::Array(blocks)) = fields.get_mut("system") {
                alone.extend(std::mem::take(blocks).into_iter().map(|block| ItemKey::of("system", block)));
            }
            fields.retain(|name, value| counts(name, value));
        }
        add(&head, &mut hash);
        let mut numbers = HashMap::new();
        for (name, items) in self.lists_with(&alone) {
            add_text(name, &mut hash);
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

    /// The lists that ask something, by their names. `system`: its one block where it is a text.
    fn lists_with<'a>(&'a self, system: &'a [ItemKey]) -> BTreeMap<&'a str, Vec<&'a ItemKey>> {
        let read = self.lists.iter().map(|list| (list.name, list.items.iter().map(|item| &**item).collect::<Vec<_>>()));
        let mut lists: BTreeMap<&str, Vec<&ItemKey>> = read.collect();
        if !system.is_empty() {
            lists.insert("system", system.iter().collect());
        }
        lists.retain(|_, items| items.iter().any(|item| item.digest.is_some()));
        lists
    }
}
