//! Methods of Python's strings and lists that minijinja's Python compatibility lacks or implements differently.

use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{joined, pay_for, text};

/// Calls a method on a value: one of ours, or else minijinja's.
///
/// # Errors
/// The method does not exist, does not accept these arguments, or fails as it would in Python.
pub(crate) fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let own = match (value.kind(), value.as_str()) {
        (_, Some(of)) => string_method(state, of, name, arguments)?,
        (ValueKind::Seq | ValueKind::Iterable, None) => list_method(state, value, name, arguments)?,
        _ => None,
    };
    own.map_or_else(|| unknown_method_callback(state, value, name, arguments), Ok)
}

/// `None` if minijinja's own method is to be used.
fn string_method(state: &State, of: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let value = match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(of.strip_prefix(prefix).unwrap_or(of))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(of.strip_suffix(suffix).unwrap_or(of))
        }
        "partition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            parts(of.split_once(separator).map(|(before, after)| [before, separator, after]).unwrap_or([of, "", ""]))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            parts(of.rsplit_once(separator).map(|(before, after)| [before, separator, after]).unwrap_or(["", "", of]))
        }
        "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(arguments)?;
            rsplit(state, of, separator, most)?
        }
        "find" | "index" | "rfind" | "rindex" => find(of, name, arguments)?,
        "join" => {
            let (items,): (&Value,) = from_args(arguments)?;
            Value::from(joined(state, items.try_iter()?.map(Ok), of)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn list_method(state: &State, list: &Value, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    if name != "index" {
        return Ok(None);
    }
    let (wanted,): (&Value,) = from_args(arguments)?;
    for (at, item) in list.try_iter()?.enumerate() {
        pay_for(state, 0)?;
        if item == *wanted {
            return Ok(Some(at.into()));
        }
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("{} is not in list", text(state, wanted)?)))
}

fn parts(parts: [&str; 3]) -> Value {
    Value::from(Tuple::new(parts.map(Value::from).to_vec()))
}

/// Python's `rsplit`. Without a separator it splits at stretches of whitespace and drops them.
fn rsplit(state: &State, of: &str, separator: Option<&str>, most: Option<i64>) -> Result<Value, Error> {
    if separator == Some("") {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = Some(if separator.is_some() { of } else { of.trim_end() });
    while let Some(left) = rest.filter(|left| separator.is_some() || !left.is_empty()) {
        let split = match separator {
            _ if parts.len() == most => None,
            Some(separator) => left.rsplit_once(separator),
            None => left.rsplit_once(char::is_whitespace).map(|(before, part)| (before.trim_end(), part)),
        };
        pay_for(state, size_of::<(&str, Value)>())?;
        parts.push(split.map_or(left, |(_, part)| part));
        rest = split.map(|(before, _)| before);
    }
    Ok(parts.into_iter().rev().map(Value::from).collect())
}

/// Python's `find`, `index`, `rfind` and `rindex`. Positions count characters; a negative start or end counts
/// from the end of the text.
fn find(of: &str, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(arguments)?;
    let length = of.chars().count() as i64;
    let position = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    let (start, end) = (position(start.unwrap_or(0)), position(end.unwrap_or(length)).min(length));
    let within: String = of.chars().skip(start as usize).take((end - start).max(0) as usize).collect();
    let byte = if name.starts_with('r') { within.rfind(wanted) } else { within.find(wanted) };
    let at = byte.filter(|_| start <= end).map(|byte| start + within[..byte].chars().count() as i64);
    match at {
        None if name.ends_with("index") => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
        at => Ok(at.unwrap_or(-1).into()),
    }
}
