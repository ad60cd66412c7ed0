//! What a value must be, and what is said where it is something else.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::server::malformed_body;
use crate::wire::Content;

/// A type of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Text,
    Object,
    List,
}

/// Checks a required field.
pub(super) fn must_be(expected: Expected, value: Option<&Value>, field: &str) -> Result<(), String> {
    let wanted = match (expected, value) {
        (_, None) => return Err(format!("{field}: Field required")),
        (Expected::Text, Some(Value::String(_)))
        | (Expected::Object, Some(Value::Object(_)))
        | (Expected::List, Some(Value::Array(_))) => return Ok(()),
        (Expected::Text, _) => "a string",
        (Expected::Object, _) => "an object",
        (Expected::List, _) => "a list",
    };
    Err(format!("{field}: Input should be {wanted}, not {}", value.map(kind).unwrap_or_default()))
}

pub(super) fn must_be_object(value: &Value, field: &str) -> Result<(), String> {
    must_be(Expected::Object, Some(value), field)
}

pub(super) fn must_be_text(value: Option<&Value>, field: &str) -> Result<(), String> {
    must_be(Expected::Text, value, field)
}

/// Checks that a required field is a string or a list of content blocks. The reason continues the path of what `field` is in.
pub(super) fn must_be_content(value: Option<&Value>, field: &str) -> Result<(), String> {
    let Some(value) = value else { return Err(format!(".{field}: Field required")) };
    let body = json!({ field: value }).to_string();
    malformed_body::parse::<HashMap<String, Content>>(body.as_bytes()).map(drop).map_err(|reason| format!(".{reason}"))
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
