//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it: what chat templates put into prompts.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// On one line.
///
/// # Errors
/// The value cannot be JSON.
pub fn one_line(value: &impl Serialize) -> serde_json::Result<String> {
    write(value, PythonFormatter)
}

/// With so many spaces before each level.
///
/// # Errors
/// The value cannot be JSON.
pub fn indented(value: &impl Serialize, width: usize) -> serde_json::Result<String> {
    write(value, PrettyFormatter::with_indent(" ".repeat(width).as_bytes()))
}

fn write(value: &impl Serialize, formatter: impl Formatter) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// One line, `", "` between items and `": "` after keys.
struct PythonFormatter;

impl PythonFormatter {
    fn separate<W: io::Write + ?Sized>(writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}

impl Formatter for PythonFormatter {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
