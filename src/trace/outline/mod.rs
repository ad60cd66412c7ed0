//! Reading many traces. Each request of a conversation repeats the one before and adds a little: what is repeated is read once.
//!
//! An outline is a trace without the long lists of its request, and beside it what a command wants to know of each of their
//! items. An item that stands at the same place of one of the last traces, byte by byte, is not parsed again.

mod cut;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use self::cut::LISTS;
use self::cut::{CutItem, CutList, lists_in, without_items};
use super::{MAX_WEIGHT, Trace, TraceError, VERSION, is_heavier, read, read_json_into};

/// How many of the last traces are compared with: requests beside the conversation, such as for its title, come in between.
const RECENT: usize = 3;

/// How many files are read one after another by one thread: each first one is read as a whole.
const RUN: usize = 64;

/// A trace by what it has that others do not.
pub struct Outline<T, H = Trace> {
    /// The trace, or what is needed of it; in the body of its request, these lists are empty.
    pub trace: H,
    /// Their items, in the order of the body's fields.
    pub lists: Vec<List<T>>,
}

/// The items of a list in a request's body.
pub struct List<T> {
    /// The field's name.
    pub name: &'static str,
    /// What is known of each.
    pub items: Vec<Arc<T>>,
}

/// What a command needs of a trace beside the lists. Fields that it does not have are passed over in the file: most of a trace
/// without its lists are the events of its answer.
pub trait TraceHead: DeserializeOwned + From<Trace> {
    /// The file's version.
    fn version(&self) -> u32;
}

impl TraceHead for Trace {
    fn version(&self) -> u32 {
        self.version
    }
}

impl<T, H> Outline<T, H> {
    /// The items of the list with this name; none if the body has no such list.
    pub fn items(&self, name: &str) -> &[Arc<T>] {
        self.lists.iter().find(|list| list.name == name).map_or(&[], |list| &list.items)
    }
}

/// What a command wants to know of an item: from the list's name, the item's place in it and its JSON.
pub trait ReadItem<T>: Fn(&'static str, usize, &[u8]) -> serde_json::Result<T> + Sync {}

impl<T, F: Fn(&'static str, usize, &[u8]) -> serde_json::Result<T> + Sync> ReadItem<T> for F {}

/// Reads the outlines of many files, several at once, and gives what is made of each, in order.
pub fn outlines<T: Send + Sync, R: Send>(
    files: &[PathBuf],
    item: impl ReadItem<T>,
    make: impl Fn(&Path, Result<Outline<T>, TraceError>) -> R + Sync,
) -> Vec<R> {
    outlines_with_head::<T, Trace, R>(files, item, make)
}

/// The same with less of each trace.
pub fn outlines_with_head<T: Send + Sync, H: TraceHead, R: Send>(
    files: &[PathBuf],
    item: impl ReadItem<T>,
    make: impl Fn(&Path, Result<Outline<T, H>, TraceError>) -> R + Sync,
) -> Vec<R> {
    let runs = files.par_chunks(RUN).map(|run| {
        let mut reader = Reader { item: &item, recent: VecDeque::new() };
        run.iter().map(|file| make(file, reader.read(file))).collect::<Vec<R>>()
    });
    runs.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// Reads files one after another.
struct Reader<'a, T, F> {
    item: &'a F,
    /// The last files, the newest first.
    recent: VecDeque<ReadFile<T>>,
}

/// A file's bytes, and what its items are.
struct ReadFile<T> {
    json: Vec<u8>,
    lists: [Vec<(Range<usize>, Arc<T>)>; LISTS.len()],
}

impl<T, F: ReadItem<T>> Reader<'_, T, F> {
    fn read<H: TraceHead>(&mut self, path: &Path) -> Result<Outline<T, H>, TraceError> {
        // The memory of the oldest: asking the system for as much again takes longer than reading.
        let oldest = if self.recent.len() < RECENT { None } else { self.recent.pop_back() };
        let json = read_json_into(path, oldest.map_or_else(Vec::new, |file| file.json))?;
        match self.outline(json) {
            Some(outline) => Ok(outline),
            // It is laid out in another way, or is none: the error says where.
            None => self.whole(read(path)?, path),
        }
    }

    fn outline<H: TraceHead>(&mut self, json: Vec<u8>) -> Option<Outline<T, H>> {
        let cut = lists_in(&json, |list, nth, rest| self.known(list, nth, rest))?;
        let head = without_items(&json, &cut);
        if is_heavier(&head, MAX_WEIGHT) {
            return None;
        }
        let trace: H = serde_json::from_slice(&head).ok()?;
        if trace.version() != VERSION {
            return None;
        }
        let mut lists: [Vec<_>; LISTS.len()] = Default::default();
        let mut named = Vec::with_capacity(cut.len());
        for CutList { list, items } in cut {
            for (nth, CutItem { place, known }) in items.into_iter().enumerate() {
                let item = known.or_else(|| self.item(list, nth, &json[place.clone()]))?;
                lists[list].push((place, item));
            }
            named.push(List { name: LISTS[list], items: lists[list].iter().map(|(_, item)| item.clone()).collect() });
        }
        self.recent.push_front(ReadFile { json, lists });
        Some(Outline { trace, lists: named })
    }

    fn item(&self, list: usize, nth: usize, json: &[u8]) -> Option<Arc<T>> {
        if is_heavier(json, MAX_WEIGHT) {
            return None;
        }
        (self.item)(LISTS[list], nth, json).ok().map(Arc::new)
    }

    /// The item at this place of one of the last files, and its length, if these bytes begin with it. Where a number or a word
    /// ends, its own bytes do not tell, so those are never known.
    fn known(&self, list: usize, nth: usize, json: &[u8]) -> Option<(usize, Arc<T>)> {
        self.recent.iter().find_map(|file| {
            let (place, item) = file.lists[list].get(nth)?;
            let bytes = &file.json[place.clone()];
            let is_closed = matches!(bytes.last(), Some(b'}' | b']' | b'"'));
            (is_closed && json.starts_with(bytes)).then(|| (bytes.len(), item.clone()))
        })
    }

    /// The outline of a trace that was read as a whole.
    fn whole<H: TraceHead>(&self, mut trace: Trace, path: &Path) -> Result<Outline<T, H>, TraceError> {
        let mut lists = Vec::new();
        for (name, value) in trace.request.body.as_object_mut().into_iter().flatten() {
            let (Some(name), Value::Array(items)) = (LISTS.into_iter().find(|list| list == name), value) else { continue };
            let read = |(nth, item): (usize, Value)| (self.item)(name, nth, item.to_string().as_bytes()).map(Arc::new);
            let items = std::mem::take(items).into_iter().enumerate().map(read).collect::<serde_json::Result<_>>();
            lists.push(List { name, items: items.map_err(|error| TraceError::malformed(path, &error))? });
        }
        Ok(Outline { trace: trace.into(), lists })
    }
}
