//! What the conversions from OpenAI's three protocols have in common.

use serde_json::{Map, Value, json};

use crate::wire::openai::StopSequences;
use crate::wire::{ENGINE_FIELDS, ToolChoice};

/// Whether the in-process engine reads a further field of a request by this name.
pub(super) fn is_of_the_engine(name: &str) -> bool {
    ENGINE_FIELDS.contains(&name)
}

/// Takes `top_k`, which OpenAI does not have and many local servers do. For them 0 and -1 are no limit; for the engine 0 is.
///
/// # Errors
/// It is not a number of tokens.
pub(super) fn top_k(extra: &mut Map<String, Value>) -> Result<Option<u32>, String> {
    match extra.remove("top_k") {
        None | Some(Value::Null) => Ok(None),
        Some(given) if given == -1 => Ok(Some(0)),
        Some(given) => {
            let k = given.as_u64().and_then(|k| u32::try_from(k).ok());
            k.map(Some).ok_or_else(|| format!("top_k: {given} is not a number of tokens"))
        }
    }
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
        "auto" => Ok(ToolChoice::Auto { disable_parallel_tool_use, extra: Map::new() }),
        "required" => Ok(ToolChoice::Any { disable_parallel_tool_use, extra: Map::new() }),
        "none" => Ok(ToolChoice::None),
        other => Err(format!("{field}: {other} is none of none, auto and required")),
    }
}

/// Refuses fields of a choice of tools beyond those that are `read`: without them, other calls would be made than were asked for.
///
/// # Errors
/// There is such a field; the sentence names it.
pub(super) fn refuse_more(owner: &str, fields: &Map<String, Value>, read: &[&str]) -> Result<(), String> {
    match fields.iter().find(|(name, value)| !value.is_null() && !read.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("{owner}.{name}: Extra inputs are not permitted")),
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_limit_is_written_in_several_ways() {
        let read = |given: Value| top_k(&mut Map::from_iter([("top_k".to_owned(), given)]));
        assert_eq!([json!(null), json!(0), json!(-1), json!(7)].map(read), [Ok(None), Ok(Some(0)), Ok(Some(0)), Ok(Some(7))]);
        for wrong in [json!("many"), json!(1.5), json!(-2)] {
            assert_eq!(read(wrong.clone()), Err(format!("top_k: {wrong} is not a number of tokens")));
        }
        assert_eq!(top_k(&mut Map::new()), Ok(None));
    }
}
