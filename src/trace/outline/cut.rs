//! Cutting the lists out of a request's body in a trace's JSON, without parsing what is in them.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::IgnoredAny;

/// The fields of a request's body that repeat most of the request before: what was said, with what stands before it.
pub(in crate::trace) const LISTS: [&str; 4] = ["messages", "tools", "system", "input"];

/// A list of the body, by the index of its name in [`LISTS`].
pub(super) struct CutList<K> {
    pub list: usize,
    pub items: Vec<CutItem<K>>,
}

/// An item of such a list.
pub(super) struct CutItem<K> {
    /// Where it stands.
    pub place: Range<usize>,
    /// What is known of it, if it is known.
    pub known: Option<K>,
}

/// Where the lists stand in a trace's JSON, in order; `None` if it is not laid out as a trace's is. `known` says how long the
/// item is that begins what is left, and what it is, if it knows the one at this place of the list.
pub(super) fn lists_in<K>(json: &[u8], known: impl Fn(usize, usize, &[u8]) -> Option<(usize, K)>) -> Option<Vec<CutList<K>>> {
    let mut cursor = Cursor { json, at: 0 };
    cursor.find("request")?;
    cursor.find("body")?;
    let mut names: HashSet<&[u8]> = HashSet::new();
    let mut lists = Vec::new();
    cursor.take(b'{')?;
    while let Some(name) = cursor.key() {
        if !names.insert(name) {
            return None;
        }
        let list = LISTS.iter().position(|known| known.as_bytes() == name).filter(|_| cursor.take(b'[').is_some());
        match list {
            Some(list) => lists.push(CutList { list, items: cursor.items(|nth, rest| known(list, nth, rest))? }),
            None => {
                cursor.value()?;
            }
        }
        if cursor.take(b',').is_none() {
            break;
        }
    }
    cursor.take(b'}')?;
    Some(lists)
}

/// A JSON text without the items of these lists.
pub(super) fn without_items<K>(json: &[u8], lists: &[CutList<K>]) -> Vec<u8> {
    let mut rest = 0;
    let mut kept = Vec::new();
    for CutList { items, .. } in lists {
        if let (Some(first), Some(last)) = (items.first(), items.last()) {
            kept.extend_from_slice(&json[rest..first.place.start]);
            rest = last.place.end;
        }
    }
    kept.extend_from_slice(&json[rest..]);
    kept
}

/// A place in a JSON text.
struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.json[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    }

    /// Passes over blanks, and over this byte if it is the next.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        (self.rest().first() == Some(&byte)).then(|| self.at += 1)
    }

    /// Passes over a field's name, which has no escapes, and its colon.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let name = &self.rest()[..memchr::memchr2(b'"', b'\\', self.rest())?];
        self.at += name.len();
        self.take(b'"')?;
        self.take(b':')?;
        Some(name)
    }

    /// Passes over a value.
    fn value(&mut self) -> Option<Range<usize>> {
        self.skip_blanks();
        let mut values = serde_json::Deserializer::from_slice(self.rest()).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let start = self.at;
        self.at += values.byte_offset();
        Some(start..self.at)
    }

    /// Goes into an object, to the value of this field.
    fn find(&mut self, name: &str) -> Option<()> {
        self.take(b'{')?;
        while self.key()? != name.as_bytes() {
            self.value()?;
            self.take(b',')?;
        }
        Some(())
    }

    /// Passes over the items of a list and its end.
    fn items<K>(&mut self, known: impl Fn(usize, &[u8]) -> Option<(usize, K)>) -> Option<Vec<CutItem<K>>> {
        let mut items = Vec::new();
        if self.take(b']').is_some() {
            return Some(items);
        }
        loop {
            self.skip_blanks();
            let start = self.at;
            let item = match known(items.len(), self.rest()) {
                Some((length, known)) => CutItem { place: start..start + length, known: Some(known) },
                None => CutItem { place: self.value()?, known: None },
            };
            self.at = item.place.end;
            items.push(item);
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(items);
            }
        }
    }
}
