//! Writes JSON as Python's `json.dumps` does, which is how chat templates put it into prompts.

use std::io;

use minijinja::value::ValueKind;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::float;
use crate::engine::text::tokenizer::MARK;

/// Lists and objects nested deeper than this are refused, as Python does at about a thousand. No client's JSON comes near it.
const DEEPEST: usize = 200;

/// The formatting options of `json.dumps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// The indentation per level; `None` writes everything on one line.
    pub indent: Option<String>,
    pub between_items: String,
    pub after_keys: String,
    /// Whether characters outside ASCII are escaped.
    pub ascii: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { indent: None, between_items: ", ".into(), after_keys: ": ".into(), ascii: false }
    }
}

/// The value as JSON on one line, in the default style.
///
/// # Errors
/// The value cannot be represented as JSON.
pub(crate) fn one_line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    dump(value, &Style::default(), &mut bytes)?;
    String::from_utf8(bytes).map_err(Error::custom)
}

/// Writes the value as JSON in this style.
///
/// # Errors
/// The value cannot be represented as JSON or is nested too deep, or `out` takes no more.
pub(crate) fn dump(value: &impl Serialize, style: &Style, out: &mut impl io::Write) -> serde_json::Result<()> {
    let formatter = PythonFormatter { style, depth: 0, filled: false };
    value.serialize(&mut serde_json::Serializer::with_formatter(out, formatter))
}

/// A template's value whose objects are written with their keys sorted.
pub(crate) struct Sorted(pub minijinja::Value);

impl Serialize for Sorted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.kind(), self.0.as_object()) {
            (ValueKind::Map, Some(entries)) => {
                let mut entries: Vec<_> = entries.try_iter_pairs().into_iter().flatten().collect();
                if entries.iter().any(|(key, _)| key.as_object().is_some()) {
                    return Err(S::Error::custom("a key is neither text nor number"));
                }
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                serializer.collect_map(entries.into_iter().map(|(key, value)| (key, Self(value))))
            }
            (ValueKind::Seq | ValueKind::Iterable, Some(items)) => {
                serializer.collect_seq(items.try_iter().into_iter().flatten().map(Self))
            }
            _ => self.0.serialize(serializer),
        }
    }
}

struct PythonFormatter<'a> {
    style: &'a Style,
    depth: usize,
    /// Whether the innermost object or array has any items so far.
    filled: bool,
}

impl PythonFormatter<'_> {
    fn separate<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.filled = true;
        if !first {
            writer.write_all(self.style.between_items.as_bytes())?;
        }
        self.new_line(writer)
    }

    fn new_line<W: io::Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        let Some(indent) = &self.style.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(indent.as_bytes()))
    }

    fn open<W: io::Write + ?Sized>(&mut self, writer: &mut W, sign: &[u8]) -> io::Result<()> {
        if self.depth == DEEPEST {
            return Err(io::Error::other("nested too deep"));
        }
        self.depth += 1;
        self.filled = false;
        writer.write_all(sign)
    }

    fn close<W: io::Write + ?Sized>(&mut self, writer: &mut W, sign: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.new_line(writer)?;
        }
        self.filled = true;
        writer.write_all(sign)
    }
}

impl Formatter for PythonFormatter<'_> {
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.style.after_keys.as_bytes())
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !self.style.ascii {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut written = 0;
        // An escaped mark would no longer protect the markup it stands in.
        for (at, c) in fragment.char_indices().filter(|(_, c)| !c.is_ascii() && *c != MARK) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            let units: String = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            writer.write_all(units.as_bytes())?;
            written = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}
