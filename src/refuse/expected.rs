//! What a value must be, and what is said where it is something else.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{PathStyle, malformed_body};

/// A type of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Text,
    Object,
    List,
    Boolean,
    ObjectOrList,
    TextOrList,
}

/// Checks a required field.
pub(super) fn must_be(expected: Expected, value: Option<&Value>, field: &str) -> Result<(), String> {
    let wanted = match (expected, value) {
        (_, None) => return Err(format!("{field}: Field required")),
        (Expected::Text | Expected::TextOrList, Some(Value::String(_)))
        | (Expected::Object | Expected::ObjectOrList, Some(Value::Object(_)))
        | (Expected::List | Expected::ObjectOrList | Expected::TextOrList, Some(Value::Array(_)))
        | (Expected::Boolean, Some(Value::Bool(_))) => return Ok(()),
        (Expected::Text, _) => "string",
        (Expected::Object, _) => "dictionary",
        (Expected::List, _) => "list",
        (Expected::Boolean, _) => "boolean",
        (Expected::ObjectOrList, _) => "dictionary or list",
        (Expected::TextOrList, _) => "string or list",
    };
    Err(format!("{field}: Input should be a valid {wanted}"))
}

/// Checks an optional field. `null` is as if it was not there.
pub(super) fn may_be(expected: Expected, value: Option<&Value>, field: &str) -> Result<(), String> {
    match value {
        None | Some(Value::Null) => Ok(()),
        given => must_be(expected, given, field),
    }
}

pub(super) fn must_be_object(value: &Value, field: &str) -> Result<(), String> {
    must_be(Expected::Object, Some(value), field)
}

pub(super) fn must_be_text(value: Option<&Value>, field: &str) -> Result<(), String> {
    must_be(Expected::Text, value, field)
}

/// Reads a required field that the request's parser has kept as it came. The reason continues the path of what `field` is in.
pub(super) fn read<T: DeserializeOwned>(value: Option<&Value>, field: &str) -> Result<T, String> {
    let required = || format!(".{field}: Field required");
    let body = json!({ field: value.ok_or_else(required)? }).to_string();
    let mut fields: HashMap<String, T> =
        malformed_body::parse(body.as_bytes(), PathStyle::Anthropic).map_err(|reason| format!(".{reason}"))?;
    fields.remove(field).ok_or_else(required)
}

/// Checks a required field that holds one of a few names.
pub(super) fn must_be_one_of(names: &[&str], value: Option<&Value>, field: &str) -> Result<(), String> {
    match value {
        None => Err(format!("{field}: Field required")),
        Some(Value::String(name)) if names.contains(&name.as_str()) => Ok(()),
        Some(_) => {
            let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let listed = match &quoted[..] {
                [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
                names => names.join(""),
            };
            Err(format!("{field}: Input should be {listed}"))
        }
    }
}
