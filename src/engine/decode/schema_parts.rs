//! The schemas directly inside a schema, the paths to them, and trying them.

use serde_json::{Map, Value};

/// Tells why llguidance does not accept a schema.
pub(super) type Compiles<'a> = &'a dyn Fn(&Value) -> Result<(), String>;

/// The way from a schema to a part of it, such as `properties`, `tags`, `items`.
pub(super) type SchemaPath = Vec<String>;

/// The path as it continues a field's name: `.properties.tags.items`.
pub(super) fn shown(path: &[String]) -> String {
    path.iter().map(|step| format!(".{step}")).collect()
}

/// The schemas directly inside this one, each with its path from here.
pub(super) fn parts(keywords: &Map<String, Value>) -> Vec<(SchemaPath, &Value)> {
    let mut parts = Vec::new();
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
                parts.extend(named.iter().map(|(name, part)| (vec![keyword.clone(), name.clone()], part)));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(list)) => {
                parts.extend(list.iter().enumerate().map(|(at, part)| (vec![keyword.clone(), at.to_string()], part)));
            }
            ("items" | "additionalItems" | "additionalProperties", part) => parts.push((vec![keyword.clone()], part)),
            _ => {}
        }
    }
    parts
}

/// The part of the schema that a path leads to.
pub(super) fn part_mut<'a>(schema: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(schema, |part, step| match part {
        Value::Object(keywords) => keywords.get_mut(step),
        Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}
