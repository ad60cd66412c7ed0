//! Typed netstrings, in which mitmproxy writes its flows: `<length>:<payload><tag>`.

use std::io::{self, BufRead, Read};

/// The longest value: more than any flow has.
const MAX_LENGTH: usize = 1 << 30;

/// The deepest nesting: flows have a handful.
const MAX_DEPTH: usize = 64;

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    Bytes(Vec<u8>),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Null,
    List(Vec<Item>),
    /// Keys and values, in order.
    Dict(Vec<(Item, Item)>),
}

impl Item {
    /// A field of a dictionary.
    pub(super) fn get(&self, key: &str) -> &Self {
        let Self::Dict(fields) = self else { return &Self::Null };
        fields.iter().find(|(name, _)| name.as_text() == Some(key)).map_or(&Self::Null, |(_, value)| value)
    }

    /// A text, or bytes that are one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        if let Self::Int(int) = self { Some(*int) } else { None }
    }

    pub(super) fn as_seconds(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }
}

/// The next value of a file; `None` at its end.
///
/// # Errors
/// It cannot be read, or breaks off, or is no value.
pub(super) fn next(reader: &mut dyn BufRead) -> io::Result<Option<Item>> {
    let mut head = Vec::new();
    if (&mut *reader).take(12).read_until(b':', &mut head)? == 0 {
        return Ok(None);
    }
    let length = head.strip_suffix(b":").and_then(length_of).ok_or_else(|| bad("no length"))?;
    let mut payload = Vec::new();
    (&mut *reader).take(length as u64 + 1).read_to_end(&mut payload)?;
    let tag = payload.pop().filter(|_| payload.len() == length).ok_or_else(|| bad("it breaks off"))?;
    item(&payload, tag, 0).map(Some)
}

fn length_of(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= MAX_LENGTH)
}

fn item(payload: &[u8], tag: u8, depth: usize) -> io::Result<Item> {
    let text = || std::str::from_utf8(payload).map_err(|_| bad("a text that is no UTF-8"));
    Ok(match tag {
        b',' => Item::Bytes(payload.to_vec()),
        b';' => Item::Text(text()?.to_owned()),
        b'#' => Item::Int(text()?.parse().map_err(|_| bad("a number that is none"))?),
        b'^' => Item::Float(text()?.parse().map_err(|_| bad("a number that is none"))?),
        b'!' => Item::Bool(payload == b"true"),
        b'~' => Item::Null,
        b']' => Item::List(items(payload, depth)?),
        b'}' => {
            let mut items = items(payload, depth)?.into_iter();
            let mut fields = Vec::new();
            while let Some(key) = items.next() {
                fields.push((key, items.next().ok_or_else(|| bad("a name without a value"))?));
            }
            Item::Dict(fields)
        }
        _ => return Err(bad("a tag that is none")),
    })
}

fn items(mut payload: &[u8], depth: usize) -> io::Result<Vec<Item>> {
    if depth >= MAX_DEPTH {
        return Err(bad("it is nested too deep"));
    }
    let mut items = Vec::new();
    while !payload.is_empty() {
        let colon = payload.iter().position(|byte| *byte == b':').ok_or_else(|| bad("no length"))?;
        let length = length_of(&payload[..colon]).ok_or_else(|| bad("no length"))?;
        let rest = &payload[colon + 1..];
        let tag = *rest.get(length).ok_or_else(|| bad("it breaks off"))?;
        items.push(item(&rest[..length], tag, depth + 1)?);
        payload = &rest[length + 1..];
    }
    Ok(items)
}

fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no flow of mitmproxy's: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mut bytes: &[u8]) -> io::Result<Option<Item>> {
        next(&mut bytes)
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let item = read(b"56:1:a;1:x,1:b;2:-7#1:c;3:1.5^1:d;4:true!1:e;0:~1:f;4:1:y;]}").unwrap().unwrap();
        assert_eq!(
            (item.get("a"), item.get("b").as_int(), item.get("c").as_seconds()),
            (&Item::Bytes(b"x".into()), Some(-7), Some(1.5))
        );
        assert_eq!(
            (item.get("d"), item.get("e"), item.get("f").as_list()),
            (&Item::Bool(true), &Item::Null, &[Item::Text("y".into())][..])
        );
        assert_eq!(read(b"").unwrap(), None);
    }

    #[test]
    fn what_breaks_off_or_is_none_is_refused() {
        for bytes in ["x", "3:ab", "1:a?", "99999999999:", "2:1:]", "1:x#", "4:1:a;}"] {
            assert!(read(bytes.as_bytes()).is_err(), "{bytes}");
        }
        let deep = (0..100).fold("0:~".to_owned(), |inner, _| format!("{}:{inner}]", inner.len()));
        assert!(read(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_otherwise(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[0-9]{1,2}:[0-9:;,#~\\]}]{0,40}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
