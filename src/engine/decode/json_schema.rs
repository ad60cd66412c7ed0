//! Prepares JSON Schemas for llguidance: keywords that it cannot enforce are removed, and reported by name.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::declared_properties::{allow_only_declared, has_type};
use super::endless::remove_endless_references;
use super::number_limits::{self, LARGEST_NUMBER};
use super::pattern_size::is_too_large;
use super::references;
use super::schema_cost;
use super::schema_parts::{Compiles, shown};
use super::string_formats;
use super::unusable_parts::open_unusable_parts;
use crate::wire::Tool;

/// Length limits above this are dropped: the automaton needs memory for each character.
const LONGEST_LIMIT: u64 = 2_000;

/// Most arguments of a schema that are tried alone.
const MOST_ARGUMENTS_TRIED: usize = 200;

/// Most patterns of a schema that are tried alone: each takes some milliseconds.
const MOST_PATTERNS: usize = 100;

/// A `maxLength` from this on need not be reported as dropped: no text of an answer gets near it.
const UNREACHABLE_LENGTH: u64 = 100_000;

/// How llguidance begins its reason where no value satisfies a schema.
const UNSATISFIABLE: &str = "Unsatisfiable schema";

/// The tool's `input_schema` made enforceable, and what was left out of it. The result always demands an object,
/// whatever the tool says. `compiles` tells whether llguidance accepts a schema.
pub(super) fn prepare_arguments(tool: &Tool, compiles: Compiles) -> (Value, Vec<String>) {
    let mut schema = match &tool.input_schema {
        Value::Object(schema) => Value::Object(schema.clone()),
        _ => json!({}),
    };
    if let Some(keywords) = schema.as_object_mut() {
        keywords.insert("type".into(), json!("object"));
    }
    prepare(schema, compiles)
}

/// Any schema made enforceable, and what was left out of it. `compiles` tells whether llguidance accepts a
/// schema.
pub(super) fn prepare(mut schema: Value, compiles: Compiles) -> (Value, Vec<String>) {
    let nowhere = references::resolve(&mut schema);
    let mut left_out: Vec<String> = nowhere.iter().map(|path| format!("{}, which leads nowhere", shown(path))).collect();
    if is_open(&schema) {
        schema = any_value();
        define_any_value(&mut schema);
    }
    // Whatever is left out, such a schema does not compile; only trying takes long, or overflows the stack.
    if schema_cost::excess(&schema).is_some_and(|excess| !excess.is_of_expressions()) {
        return (schema, left_out);
    }
    left_out.extend(remove_endless_references(&mut schema));
    let mut patterns: HashMap<String, bool> = HashMap::new();
    visit(&mut schema, &mut |keywords| {
        left_out.extend(number_limits::narrow(keywords));
        string_formats::narrow(keywords);
        for keyword in ["minLength", "maxLength"] {
            let Some(limit) = keywords.get(keyword).and_then(Value::as_u64).filter(|limit| *limit > LONGEST_LIMIT) else {
                continue;
            };
            keywords.remove(keyword);
            if keyword == "minLength" || limit < UNREACHABLE_LENGTH {
                left_out.push(format!("{keyword} {limit}"));
            }
        }
        left_out.extend(remove_large_names(keywords));
        left_out.extend(remove_limits_of_many(keywords));
        // It only says which draft is meant, and llguidance looks for drafts under some addresses only.
        keywords.remove("$schema");
        if let Some(pattern) = keywords.get("pattern")
            && !of_pattern(pattern, &mut patterns, compiles)
        {
            left_out.push(format!("pattern {pattern}"));
            keywords.remove("pattern");
        }
    });
    if let Some(enforceable) = enforceable(&schema, compiles) {
        return (enforceable, left_out);
    }
    let loosened = |(loosened, removed): (Value, Vec<String>)| {
        let enforceable = if removed.is_empty() { None } else { enforceable(&loosened, compiles) };
        enforceable.map(|enforceable| (enforceable, [&left_out[..], &removed].concat()))
    };
    loosened(leave_out_expressions(&schema))
        .or_else(|| loosened(leave_out_contradictions(&schema, compiles)))
        .or_else(|| loosened(open_unusable_parts(&schema, compiles)))
        .unwrap_or((schema, left_out))
}

/// Removes the limits for the number of properties where these are many, and returns them.
fn remove_limits_of_many(keywords: &mut Map<String, Value>) -> Vec<String> {
    if keywords.get("properties").and_then(Value::as_object).is_none_or(|named| named.len() <= schema_cost::MOST_LIMITED) {
        return vec![];
    }
    let limits = ["minProperties", "maxProperties"].into_iter();
    limits.filter_map(|limit| Some(format!("{limit} {}", keywords.shift_remove(limit)?))).collect()
}

/// Removes patterns for names of properties that are too large, and returns them. Properties with such names may have any value
/// then.
fn remove_large_names(keywords: &mut Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(patterns)) = keywords.get_mut("patternProperties") else { return vec![] };
    let large: Vec<String> = patterns.keys().filter(|pattern| is_too_large(pattern)).cloned().collect();
    large.iter().for_each(|pattern| drop(patterns.shift_remove(pattern)));
    if !large.is_empty() {
        keywords.insert("additionalProperties".into(), Value::Bool(true));
    }
    large.into_iter().map(|pattern| format!("names of the pattern {pattern:?}")).collect()
}

/// Whether a pattern compiles alone. `known` are those asked before; of too many, the others are taken to compile.
fn of_pattern(pattern: &Value, known: &mut HashMap<String, bool>, compiles: Compiles) -> bool {
    let alone = || json!({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}});
    if pattern.as_str().is_some_and(is_too_large) {
        return false;
    }
    let left = known.len() < MOST_PATTERNS;
    *known.entry(pattern.to_string()).or_insert_with(|| !left || compiles(&alone()).is_ok())
}

/// The strictest form of the schema that compiles. `any_value` is recursive, and llguidance cannot combine two recursive schemas,
/// as `allOf` requires: then the places that may hold anything are left unbounded.
fn enforceable(schema: &Value, compiles: Compiles) -> Option<Value> {
    let mut bounded = schema.clone();
    visit(&mut bounded, &mut bound_open_places);
    allow_only_declared(&mut bounded);
    define_any_value(&mut bounded);
    if compiles(&bounded).is_ok() {
        return Some(bounded);
    }
    let mut declared = schema.clone();
    allow_only_declared(&mut declared);
    if compiles(&declared).is_ok() {
        return Some(declared);
    }
    compiles(schema).is_ok().then(|| schema.clone())
}

/// The schema without patterns and the like, and what these were: several for one string can be too many together.
fn leave_out_expressions(schema: &Value) -> (Value, Vec<String>) {
    let (mut schema, mut removed) = (schema.clone(), Vec::new());
    visit(&mut schema, &mut |keywords| {
        for keyword in ["pattern", "format", "multipleOf", "minProperties", "maxProperties"] {
            removed.extend(keywords.remove(keyword).map(|value| format!("{keyword} {value}")));
        }
    });
    (schema, removed)
}

/// The schema without the optional arguments that no value satisfies, and what these were.
fn leave_out_contradictions(schema: &Value, compiles: Compiles) -> (Value, Vec<String>) {
    let (mut schema, mut removed) = (schema.clone(), Vec::new());
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let [defs, definitions] = ["$defs", "definitions"].map(|keyword| schema[keyword].clone());
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut)
        && properties.len() <= MOST_ARGUMENTS_TRIED
    {
        properties.retain(|name, property| {
            let mut alone = json!({"type": "object", "properties": {name: property}});
            for (keyword, referred) in [("$defs", &defs), ("definitions", &definitions)] {
                if referred.is_object() {
                    alone[keyword] = referred.clone();
                }
            }
            let contradicts = compiles(&alone).is_err_and(|reason| reason.contains(UNSATISFIABLE));
            let stays = required.iter().any(|one| one == name) || !contradicts;
            if !stays {
                removed.push(format!("argument {name:?}, which no value satisfies"));
            }
            stays
        });
    }
    (schema, removed)
}

/// The schema of any JSON object.
pub(super) fn any_object() -> Value {
    let mut schema = json!({"type": "object", "additionalProperties": any_value()});
    define_any_value(&mut schema);
    schema
}

/// A reference to our own definition of "any value": in llguidance's, numbers are unbounded.
fn any_value() -> Value {
    json!({"$ref": "#/$defs/anyclaude-value"})
}

/// Adds the definition that [`any_value`] refers to.
fn define_any_value(schema: &mut Value) {
    let value = json!({"anyOf": [
        {"type": ["string", "boolean", "null"]},
        {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        {"type": "array", "items": any_value()},
        {"type": "object", "additionalProperties": any_value()},
    ]});
    let definitions = schema.as_object_mut().map(|keywords| keywords.entry("$defs").or_insert(json!({})));
    if let Some(Value::Object(definitions)) = definitions {
        definitions.insert("anyclaude-value".into(), value);
    }
}

/// Whether the schema allows any value.
fn is_open(schema: &Value) -> bool {
    const ANNOTATIONS: [&str; 7] = ["title", "description", "default", "examples", "$comment", "readOnly", "writeOnly"];
    match schema {
        Value::Object(keywords) => keywords.keys().all(|keyword| ANNOTATIONS.contains(&keyword.as_str())),
        other => *other == Value::Bool(true),
    }
}

/// Replaces schemas that allow anything by [`any_value`].
fn bound_open_places(keywords: &mut Map<String, Value>) {
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().filter(|schema| is_open(schema)).for_each(|schema| *schema = any_value());
    }
    if has_type(keywords, "array") && keywords.get("items").is_none_or(is_open) {
        keywords.insert("items".into(), any_value());
    }
    let others = keywords.get("additionalProperties");
    if has_type(keywords, "object") && others.map_or(keywords.contains_key("patternProperties"), is_open) {
        keywords.insert("additionalProperties".into(), any_value());
    }
}

/// Adds llguidance's options: fixed whitespace, and unknown keywords are not an error.
pub(super) fn with_options(mut schema: Value) -> Value {
    if let Some(keywords) = schema.as_object_mut() {
        let options = json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "lenient": true});
        keywords.insert("x-guidance".into(), options);
    }
    schema
}

/// Calls `see` on the schema and on every schema inside it.
pub(super) fn visit(schema: &mut Value, see: &mut dyn FnMut(&mut Map<String, Value>)) {
    let Some(keywords) = schema.as_object_mut() else { return };
    see(keywords);
    for (keyword, value) in keywords.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas", Value::Object(named)) => {
                named.values_mut().for_each(|schema| visit(schema, see));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(list)) => {
                list.iter_mut().for_each(|schema| visit(schema, see));
            }
            ("items" | "additionalProperties" | "additionalItems", schema) => visit(schema, see),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whether(compiles: bool) -> Result<(), String> {
        if compiles { Ok(()) } else { Err(UNSATISFIABLE.into()) }
    }

    #[test]
    fn an_optional_argument_that_cannot_be_enforced_is_opened_and_not_left_out() {
        let schema = json!({"$schema": "https://json-schema.org/draft-07/schema",
            "properties": {"when": {"type": "date"}, "a": {"type": "string", "pattern": "^a{60000}$"}}});
        let tool: Tool = serde_json::from_value(json!({"name": "t", "input_schema": schema})).unwrap();
        let (schema, left_out) = prepare_arguments(&tool, &|schema| match schema.to_string().contains("date") {
            true => Err("Invalid type: date".into()),
            false => Ok(()),
        });
        assert_eq!(schema["properties"], json!({"when": any_value(), "a": {"type": "string"}}));
        assert_eq!(left_out, ["pattern \"^a{60000}$\"", ".properties.when, which no grammar can be made of"]);
        assert_eq!(schema.get("$schema"), None);
    }

    fn prepared(schema: Value) -> (Value, Vec<String>) {
        let tool: Tool = serde_json::from_value(json!({"name": "t", "input_schema": schema})).unwrap();
        prepare_arguments(&tool, &|schema| whether(schema["properties"]["a"]["pattern"] != "(?=x)"))
    }

    #[test]
    fn what_cannot_be_enforced_is_left_out_and_named() {
        let schema = json!({"type": "object", "properties": {
            "pattern": {"type": "string", "pattern": "(?=x)"},
            "maxLength": {"anyOf": [{"type": "string", "maxLength": 5000}, {"type": "string", "maxLength": 524288}, {"type": "null"}]},
            "fine": {"type": "string", "pattern": "^a$", "maxLength": 9}}});
        let (schema, left_out) = prepared(schema);
        assert_eq!(
            schema["properties"],
            json!({"pattern": {"type": "string"}, "maxLength": {"anyOf": [{"type": "string"}, {"type": "string"}, {"type": "null"}]},
                   "fine": {"type": "string", "pattern": "^a$", "maxLength": 9}})
        );
        assert_eq!(left_out, ["pattern \"(?=x)\"", "maxLength 5000"]);
    }

    #[test]
    fn an_argument_that_nothing_satisfies_is_left_out_where_it_may_be() {
        let schema = json!({"type": "object", "properties": {"a": {"enum": []}, "b": {"type": "string"}}, "required": ["b"]});
        let tool: Tool = serde_json::from_value(json!({"name": "t", "input_schema": schema})).unwrap();
        let (schema, left_out) = prepare_arguments(&tool, &|schema| whether(!schema.to_string().contains("[]")));
        assert_eq!(schema["properties"], json!({"b": {"type": "string"}}));
        assert_eq!(left_out, ["argument \"a\", which no value satisfies"]);
    }

    #[test]
    fn what_an_argument_refers_to_counts_when_it_is_judged() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}, "b": {"enum": []}},
            "definitions": {"A": {"type": "string"}}});
        let tool: Tool = serde_json::from_value(json!({"name": "t", "input_schema": schema})).unwrap();
        let compiles =
            |schema: &Value| whether(!schema.to_string().contains("[]") && schema["definitions"]["A"]["type"] == "string");
        let (_, left_out) = prepare_arguments(&tool, &compiles);
        assert_eq!(left_out, ["argument \"b\", which no value satisfies"]);
    }

    #[test]
    fn patterns_go_first_where_a_schema_is_too_much() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "x", "minLength": 3}}});
        let tool: Tool = serde_json::from_value(json!({"name": "t", "input_schema": schema})).unwrap();
        let (schema, left_out) = prepare_arguments(&tool, &|schema| {
            let argument = &schema["properties"]["a"];
            whether(argument["pattern"].is_null() || argument["minLength"].is_null())
        });
        assert_eq!(schema["properties"]["a"], json!({"type": "string", "minLength": 3}));
        assert_eq!(left_out, ["pattern \"x\""]);
    }

    #[test]
    fn arguments_are_always_an_object_and_any_value_has_bounds() {
        for schema in [json!({}), json!(true), json!({"type": "string"}), json!({"type": ["object", "null"]})] {
            assert_eq!(prepared(schema).0["additionalProperties"], false);
        }
        assert_eq!(prepared(json!({"additionalProperties": true})), (any_object(), vec![]));
        let (schema, _) = prepared(json!({"properties": {"a": {"description": "d"}, "b": {"type": "array", "items": {}}},
            "additionalProperties": false}));
        assert_eq!(schema["properties"], json!({"a": any_value(), "b": {"type": "array", "items": any_value()}}));
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
