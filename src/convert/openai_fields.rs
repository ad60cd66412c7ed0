//! What the conversions from OpenAI's three protocols have in common.

use serde_json::{Value, json};

use crate::wire::openai::StopSequences;
use crate::wire::{ENGINE_FIELDS, ToolChoice};

/// Whether the in-process engine reads a further field of a request by this name.
pub(super) fn is_of_the_engine(name: &str) -> bool {
    ENGINE_FIELDS.contains(&name)
}

/// The stop sequences, however they were given.
pub(super) fn stop_sequences(stop: Option<StopSequences>) -> Vec<String> {
    match stop {
        None => Vec::new(),
        Some(StopSequences::One(text)) => vec![text],
        Some(StopSequences::Many(texts)) => texts,
    }
}

/// The choice of tool that a mode stands for.
///
/// # Errors
/// The mode is unknown; the sentence names the field.
pub(super) fn choice_of_mode(mode: &str, field: &str, disable_parallel_tool_use: bool) -> Result<ToolChoice, String> {
    match mode {
        "auto" => Ok(ToolChoice::Auto { disable_parallel_tool_use }),
        "required" => Ok(ToolChoice::Any { disable_parallel_tool_use }),
        "none" => Ok(ToolChoice::None),
        other => Err(format!("{field}: {other} is none of none, auto and required")),
    }
}

/// The schema of a function's arguments: without one, it has none.
pub(super) fn input_schema(parameters: Option<Value>) -> Value {
    parameters.filter(|schema| !schema.is_null()).unwrap_or_else(|| json!({"type": "object", "properties": {}}))
}

/// The output format of an answer that is any JSON object.
pub(super) fn any_object_format() -> Value {
    json!({"type": "json_schema", "schema": {"type": "object", "additionalProperties": true}})
}

/// The output format of an answer that follows a schema. Anthropic has no `strict`, but the in-process engine reads it.
///
/// # Errors
/// The schema is not an object; the sentence names the field.
pub(super) fn schema_format(schema: &Value, strict: &Value, field: &str) -> Result<Value, String> {
    match schema.is_object() {
        true => Ok(json!({"type": "json_schema", "schema": schema, "strict": *strict == true})),
        false => Err(format!("{field}: is not an object")),
    }
}

/// The id of an answer in OpenAI's form, with this prefix in the place of Anthropic's.
pub(super) fn answer_id(prefix: &str, message_id: &str) -> String {
    format!("{prefix}{}", message_id.strip_prefix("msg_").unwrap_or(message_id))
}
