//! What a value must be, and what is said where it is something else.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::server::malformed_body;

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
        (Expected::Text, _) => "a string",
        (Expected::Object, _) => "an object",
        (Expected::List, _) => "a list",
        (Expected::Boolean, _) => "a boolean",
        (Expected::ObjectOrList, _) => "an object or a list",
        (Expected::TextOrList, _) => "a string or a list",
    };
    Err(format!("{field}: Input should be {wanted}, not {}", value.map(kind).unwrap_or_default()))
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
    let mut fields: HashMap<String, T> = malformed_body::parse(body.as_bytes()).map_err(|reason| format!(".{reason}"))?;
    fields.remove(field).ok_or_else(required)
}

/// A value's type, as part of a sentence.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
