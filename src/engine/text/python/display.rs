//! Writes values as Python's `str()` and `repr()` do.

use std::borrow::Cow;

use minijinja::value::{DynObject, ValueKind};
use minijinja::{Error, State, Value};

use super::FueledText;
use crate::engine::text::tokenizer::MARK;

/// Containers nested deeper than this are written as `...`, because a template's namespace can contain itself.
const DEEPEST: usize = 100;

/// The value as `str()` writes it.
///
/// # Errors
/// The fuel does not pay for it.
pub(crate) fn text<'a>(state: &State, value: &'a Value) -> Result<Cow<'a, str>, Error> {
    match value.as_str() {
        Some(text) => Ok(text.into()),
        None => {
            let mut out = FueledText::new(state);
            write_value(value, DEEPEST, &mut out)?;
            Ok(out.into_string().into())
        }
    }
}

/// The items as `str()` writes them, with a text between them.
///
/// # Errors
/// The fuel does not pay for it, or an item is an error.
pub(crate) fn joined(state: &State, items: impl Iterator<Item = Result<Value, Error>>, between: &str) -> Result<String, Error> {
    let mut out = FueledText::new(state);
    for (at, item) in items.enumerate() {
        let item = item?;
        out.push(if at > 0 { between } else { "" })?;
        match item.as_str() {
            Some(text) => out.push(text)?,
            None => write_value(&item, DEEPEST, &mut out)?,
        }
    }
    Ok(out.into_string())
}

/// Appends the value as `repr()` writes it. An undefined value appends nothing.
fn write_value(value: &Value, depth: usize, out: &mut FueledText) -> Result<(), Error> {
    match (value.kind(), value.as_object()) {
        (ValueKind::String, _) => write_quoted(value.as_str().unwrap_or_default(), out),
        (ValueKind::Seq | ValueKind::Iterable | ValueKind::Map, Some(_)) if depth == 0 => out.push("..."),
        (ValueKind::Seq | ValueKind::Iterable, Some(items)) => write_list(items, value.is_tuple(), depth - 1, out),
        (ValueKind::Map, Some(entries)) => write_dict(entries, depth - 1, out),
        (ValueKind::Number, _) if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push(&float(number)),
            Err(_) => out.push(&value.to_string()),
        },
        _ => out.push(&value.to_string()),
    }
}

fn write_list(items: &DynObject, is_tuple: bool, depth: usize, out: &mut FueledText) -> Result<(), Error> {
    let (open, close) = if is_tuple { ("(", ")") } else { ("[", "]") };
    out.push(open)?;
    let mut count = 0;
    for item in items.try_iter().into_iter().flatten() {
        out.push(if count > 0 { ", " } else { "" })?;
        write_value(&item, depth, out)?;
        count += 1;
    }
    out.push(if is_tuple && count == 1 { "," } else { "" })?;
    out.push(close)
}

fn write_dict(entries: &DynObject, depth: usize, out: &mut FueledText) -> Result<(), Error> {
    out.push("{")?;
    for (at, (key, value)) in entries.try_iter_pairs().into_iter().flatten().enumerate() {
        out.push(if at > 0 { ", " } else { "" })?;
        write_value(&key, depth, out)?;
        out.push(": ")?;
        write_value(&value, depth, out)?;
    }
    out.push("}")
}

/// Appends a quoted string. The quotes are double if the text has single quotes and no double ones, otherwise
/// single.
fn write_quoted(text: &str, out: &mut FueledText) -> Result<(), Error> {
    let quote = if text.contains('\'') && !text.contains('"') { "\"" } else { "'" };
    out.push(quote)?;
    let mut written = 0;
    for (at, c) in text.char_indices() {
        let Some(escape) = escape(c, quote) else { continue };
        out.push(&text[written..at])?;
        out.push(&escape)?;
        written = at + c.len_utf8();
    }
    out.push(&text[written..])?;
    out.push(quote)
}

/// Python's escape for a character in these quotes; `None` if it stands for itself.
fn escape(c: char, quote: &str) -> Option<Cow<'static, str>> {
    let code = u32::from(c);
    Some(match c {
        '\\' => "\\\\".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        c if quote.starts_with(c) => format!("\\{c}").into(),
        c if is_printable(c) => return None,
        _ if code <= 0xFF => format!("\\x{code:02x}").into(),
        _ if code <= 0xFFFF => format!("\\u{code:04x}").into(),
        _ => format!("\\U{code:08x}").into(),
    })
}

/// Python's `str.isprintable()`, derived from whether Rust's debug form escapes the character. [`MARK`] counts as
/// printable, since an escaped mark would no longer protect markup.
fn is_printable(c: char) -> bool {
    let mut bytes = [b'a'; 5];
    let length = c.encode_utf8(&mut bytes[1..]).len();
    let written = std::str::from_utf8(&bytes[..=length]).map(|text| text.escape_debug().count());
    c == MARK || matches!(c, '\'' | '"') || written == Ok(2)
}

/// A float as `repr()` writes it: the shortest digits that identify it, in scientific notation below 1e-4 and
/// from 1e16 on.
pub(crate) fn float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{number:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.0, "-0.0"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, text) in cases {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn marked_content_stays_marked() {
        let marked = format!("<{MARK}|im_end|>");
        let environment = minijinja::Environment::new();
        let written = text(&environment.empty_state(), &Value::from(vec![marked.clone()])).unwrap().into_owned();
        assert_eq!(written, format!("['{marked}']"));
    }
}
