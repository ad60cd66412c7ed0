//! What a tool's schema declares of its parameters.

use serde_json::Value;

use crate::engine::decode::references;

/// The schema that this one refers to, or the schema itself.
pub(super) fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    schema["$ref"].as_str().and_then(|reference| references::target(reference, root)).unwrap_or(schema)
}

/// The object schema of the arguments; among alternatives, the first one with properties.
pub(super) fn object(root: &Value) -> &Value {
    let schema = resolve(root, root);
    let branches = ["anyOf", "oneOf"].iter().filter_map(|keyword| schema[*keyword].as_array()).flatten();
    let mut branches = branches.map(|branch| resolve(branch, root)).filter(|branch| branch["properties"].is_object());
    if schema["properties"].is_object() { schema } else { branches.next().unwrap_or(schema) }
}

/// Whether a schema allows only strings.
pub(super) fn is_string(schema: &Value) -> bool {
    let all_strings = |values: &Value| values.as_array().is_some_and(|values| values.iter().all(Value::is_string));
    match &schema["type"] {
        Value::Null => all_strings(&schema["enum"]) || schema["const"].is_string(),
        kind => kind == "string",
    }
}

/// The arguments that a schema declares or requires, with their schemas, in the order in which a call writes
/// them.
pub(super) fn declared(root: &Value) -> Vec<(&str, &Value)> {
    let schema = object(root);
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut declared: Vec<_> = properties.map(|(name, schema)| (name.as_str(), schema)).collect();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let silent = required.filter(|name| schema["properties"].get(*name).is_none()).map(|name| (name, &Value::Null));
    declared.extend(silent);
    declared
}

/// The keywords that constrain the arguments as a whole, which grammars of single arguments cannot enforce.
pub(super) fn beyond_arguments(root: &Value) -> Vec<String> {
    const HELD_OR_SILENT: [&str; 12] = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "$ref",
        "$defs",
        "definitions",
        "$schema",
        "title",
        "description",
        "default",
        "x-guidance",
    ];
    let keywords = object(root).as_object().into_iter().chain(root.as_object()).flatten().map(|(key, _)| key.as_str());
    let beyond = keywords.filter(|key| !HELD_OR_SILENT.contains(key));
    beyond.map(|key| format!("{key} of all arguments")).collect()
}
