//! The data of an event as the object that every protocol has there.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::trace::body::kind_of;

/// The fields of an event's data.
///
/// # Errors
/// It has none: what it is instead.
pub(super) fn fields_of(data: &Value) -> Result<&Map<String, Value>, String> {
    match data {
        Value::Object(fields) => Ok(fields),
        Value::String(text) => Err(match serde_json::from_str::<IgnoredAny>(text) {
            Err(error) => format!("its data is no JSON: {error}"),
            Ok(_) => "its data is a string, no JSON object".into(),
        }),
        other => Err(format!("its data is {}, no JSON object", kind_of(other))),
    }
}

/// The type of an event, which must be its name too.
///
/// # Errors
/// It has none, or another name.
pub(super) fn type_of<'a>(name: &'a str, fields: &'a Map<String, Value>) -> Result<&'a str, String> {
    match fields.get("type") {
        None => Ok(name),
        Some(Value::String(kind)) if kind == name => Ok(kind),
        Some(kind) => Err(format!("its name is {name}, but its type is {}", kind.as_str().unwrap_or(kind_of(kind)))),
    }
}

/// A position in the answer, such as `index`.
///
/// # Errors
/// The field is missing, or no number.
pub(super) fn number_in(fields: &Map<String, Value>, field: &str) -> Result<u64, String> {
    fields.get(field).and_then(Value::as_u64).ok_or_else(|| format!("it has no {field}"))
}
