//! OpenAI's Responses API as types: requests, whole answers, and the events of streamed ones.

mod answer;
mod event;
mod item;
mod request;
mod tool;

pub use answer::{
    IncompleteDetails, InputDetails, ItemStatus, OutputDetails, OutputItem, OutputPart, ResponseError, ResponseObject,
    ResponseStatus, ResponsesUsage,
};
pub use event::{NumberedEvent, ResponseEvent};
pub use item::{InputItem, InputPart, ItemContent, ItemRole, TextPart};
pub use request::{Input, ReasoningOptions, ResponsesRequest, TextOptions};
pub use tool::{ClientTool, ResponsesTool, ResponsesToolChoice};

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::wire::content::unexpected;

/// What is read by its `type`: one of the types that this version knows, or all fields of another.
enum ByType<T> {
    Known(T),
    Other(Map<String, Value>),
}

/// Reads a value by its `type`. `absent`: the type of a value that has none; `read` is the reader of the known types.
fn by_type<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    known: &[&str],
    absent: Option<&str>,
    read: fn(Value) -> Result<T, serde_json::Error>,
) -> Result<ByType<T>, D::Error> {
    let mut fields = Map::<String, Value>::deserialize(deserializer)?;
    if let Some(kind) = absent
        && fields.get("type").is_none_or(Value::is_null)
    {
        fields.insert("type".into(), kind.into());
    }
    match fields.get("type") {
        Some(Value::String(kind)) if known.contains(&kind.as_str()) => {
            read(Value::Object(fields)).map(ByType::Known).map_err(D::Error::custom)
        }
        Some(Value::String(_)) => Ok(ByType::Other(fields)),
        Some(other) => Err(D::Error::invalid_type(unexpected(other), &"a string")),
        None => Err(D::Error::missing_field("type")),
    }
}

/// The `type` of a value that was kept with all its fields.
fn kind_of(fields: &Map<String, Value>) -> &str {
    fields.get("type").and_then(Value::as_str).unwrap_or_default()
}
