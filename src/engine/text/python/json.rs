//! Writes JSON as Python's `json.dumps` does, which is how chat templates put it into prompts.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter};

use super::float;
use crate::engine::text::tokenizer::MARK;

/// The formatting options of `json.dumps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// The indentation per level; `None` writes everything on one line.
    pub indent: Option<String>,
    pub between_items: String,
    pub after_keys: String,
    /// Whether characters outside ASCII are escaped.
    pub ascii: bool,
    /// Whether keys are sorted.
    pub sorted: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { indent: None, between_items: ", ".into(), after_keys: ": ".into(), ascii: false, sorted: false }
    }
}

/// The value as JSON on one line, in the default style.
///
/// # Errors
/// The value cannot be represented as JSON.
pub(crate) fn one_line(value: &impl Serialize) -> serde_json::Result<String> {
    dumps(value, &Style::default())
}

/// The value as JSON in this style.
///
/// # Errors
/// The value cannot be represented as JSON.
pub(crate) fn dumps(value: &impl Serialize, style: &Style) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter { style, depth: 0, filled: false });
    match style.sorted {
        true => sorted(serde_json::to_value(value)?).serialize(&mut serializer)?,
        false => value.serialize(&mut serializer)?,
    }
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        other => other,
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
        let mut units = [0; 2];
        for c in fragment.chars() {
            match c {
                // An escaped mark would no longer protect the markup it stands in.
                c if c.is_ascii() || c == MARK => write!(writer, "{c}")?,
                c => c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?,
            }
        }
        Ok(())
    }
}
