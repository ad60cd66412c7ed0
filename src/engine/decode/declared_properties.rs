//! Closes schemas: where a schema does not mention undeclared properties, they are forbidden.
//!
//! JSON Schema allows them by default. A model that may write them invents some, down to empty names, and tools refuse or
//! misread these. Nearly all schemas that do not mention them mean that there are none.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::references;

/// Keywords by which a schema decides about undeclared properties itself.
const SPEAKS: [&str; 3] = ["additionalProperties", "patternProperties", "unevaluatedProperties"];

/// Keywords whose schemas apply to the same value as the schema they are in.
const IN_PLACE: [&str; 7] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"];

/// Forbids undeclared properties in every object schema that does not mention them.
pub(super) fn allow_only_declared(schema: &mut Value) {
    let root = schema.clone();
    let (mut combined, mut elsewhere) = (HashSet::new(), HashSet::new());
    find_combined(&root, &root, &mut combined);
    find_referenced_elsewhere(&root, &mut elsewhere);
    let closer = Closer { root: &root, combined: &combined };
    closer.close(schema);
    for reference in elsewhere {
        if let Some(target) = reference.strip_prefix('#').and_then(|pointer| schema.pointer_mut(pointer)) {
            closer.close_definition(&reference, target);
        }
    }
}

/// What all schemas that apply to one value say about its properties.
#[derive(Default)]
struct DeclaredProperties {
    names: Vec<String>,
    is_object: bool,
    /// Whether anything is said about undeclared properties.
    speaks: bool,
    /// References followed so far, as they may be circular.
    references: HashSet<String>,
}

impl DeclaredProperties {
    fn of(keywords: &Map<String, Value>, root: &Value) -> Self {
        let mut declared = Self::default();
        declared.add(keywords, root);
        declared
    }

    fn add(&mut self, keywords: &Map<String, Value>, root: &Value) {
        self.is_object |= describes_object(keywords);
        // llguidance does not know `unevaluatedProperties`: `false` is what a silent schema gets anyway.
        let forbids = |keyword: &str| keyword == "unevaluatedProperties" && keywords[keyword] == false;
        self.speaks |= SPEAKS.iter().any(|keyword| keywords.contains_key(*keyword) && !forbids(keyword));
        let properties = keywords.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
        let names = properties.map(String::as_str).chain(required.filter_map(Value::as_str));
        self.names.extend(names.map(str::to_owned));
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && self.references.insert(reference.to_owned())
            && let Some(target) = references::target(reference, root).and_then(Value::as_object)
        {
            self.add(target, root);
        }
        in_place(keywords).filter_map(Value::as_object).for_each(|branch| self.add(branch, root));
    }
}

struct Closer<'a> {
    root: &'a Value,
    /// References whose targets are combined with other schemas somewhere. These targets must stay open: closed, they would
    /// forbid what the others declare.
    combined: &'a HashSet<String>,
}

impl Closer<'_> {
    /// Forbids undeclared properties in this schema, which describes a value completely, and in all schemas
    /// inside it.
    fn close(&self, schema: &mut Value) {
        let Some(keywords) = schema.as_object_mut() else { return };
        if is_combination(keywords) || in_place(keywords).next().is_none() {
            let declared = DeclaredProperties::of(keywords, self.root);
            if declared.is_object && !declared.speaks && !self.is_closed_elsewhere(keywords) {
                forbid_others(keywords, declared.names);
            }
            self.close_inside(keywords);
        } else {
            // Alternatives, each of which describes the value completely.
            in_place_mut(keywords).for_each(|branch| self.close(branch));
            self.close_parts(keywords);
        }
    }

    /// Whether this is a bare reference whose target is closed where it is defined.
    fn is_closed_elsewhere(&self, keywords: &Map<String, Value>) -> bool {
        let reference = keywords.get("$ref").and_then(Value::as_str).unwrap_or_default();
        is_reference(keywords) && !self.combined.contains(reference)
    }

    /// Closes the target of references, or only what is inside of it.
    fn close_definition(&self, reference: &str, definition: &mut Value) {
        match self.combined.contains(reference) {
            true => definition.as_object_mut().into_iter().for_each(|keywords| self.close_inside(keywords)),
            false => self.close(definition),
        }
    }

    /// Closes the schemas of the value's parts, including parts declared in subschemas for the same value.
    fn close_inside(&self, keywords: &mut Map<String, Value>) {
        in_place_mut(keywords).filter_map(Value::as_object_mut).for_each(|branch| self.close_inside(branch));
        self.close_parts(keywords);
    }

    /// Closes the schemas of properties, items and definitions directly inside this one.
    fn close_parts(&self, keywords: &mut Map<String, Value>) {
        for (keyword, value) in keywords.iter_mut() {
            match (keyword.as_str(), value) {
                ("properties" | "patternProperties", Value::Object(named)) => {
                    named.values_mut().for_each(|part| self.close(part))
                }
                (keyword @ ("$defs" | "definitions"), Value::Object(named)) => {
                    for (name, definition) in named {
                        self.close_definition(&format!("#/{keyword}/{name}"), definition);
                    }
                }
                ("prefixItems" | "items", Value::Array(items)) => items.iter_mut().for_each(|part| self.close(part)),
                ("items" | "additionalItems" | "additionalProperties" | "unevaluatedProperties", part) => self.close(part),
                _ => {}
            }
        }
    }
}

/// Allows these properties and no others, whatever they hold.
fn forbid_others(keywords: &mut Map<String, Value>, names: Vec<String>) {
    let properties = keywords.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        for name in names {
            properties.entry(name).or_insert(Value::Bool(true));
        }
    }
    keywords.remove("unevaluatedProperties");
    keywords.insert("additionalProperties".into(), Value::Bool(false));
}

/// Collects the references that are combined with other schemas for the same value.
fn find_combined(schema: &Value, root: &Value, combined: &mut HashSet<String>) {
    match schema {
        Value::Object(keywords) => {
            if is_combination(keywords) && !is_reference(keywords) {
                combined.extend(DeclaredProperties::of(keywords, root).references);
            }
            keywords.values().for_each(|value| find_combined(value, root, combined));
        }
        Value::Array(values) => values.iter().for_each(|value| find_combined(value, root, combined)),
        _ => {}
    }
}

/// Collects the references to parts that are not among the schema's own definitions.
fn find_referenced_elsewhere(schema: &Value, found: &mut HashSet<String>) {
    match schema {
        Value::Object(keywords) => {
            if let Some(Value::String(reference)) = keywords.get("$ref") {
                let own = ["#/$defs/", "#/definitions/"].iter().find_map(|start| reference.strip_prefix(start));
                if reference.starts_with("#/") && own.is_none_or(|name| name.contains('/')) {
                    found.insert(reference.clone());
                }
            }
            keywords.values().for_each(|value| find_referenced_elsewhere(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| find_referenced_elsewhere(value, found)),
        _ => {}
    }
}

/// Whether it takes several schemas together to describe the value, such as all of `allOf`, or alternatives beside
/// `properties`, or alternatives of an object of which some say nothing of its properties.
fn is_combination(keywords: &Map<String, Value>) -> bool {
    let has = |keyword: &str| keywords.contains_key(keyword);
    has("allOf")
        || has("if")
        || has("dependentSchemas")
        || has("$ref")
        || has("properties") && in_place(keywords).next().is_some()
        || has_type(keywords, "object") && in_place(keywords).any(|branch| !branch.as_object().is_some_and(describes_object))
}

/// Whether the schema says of itself that it describes an object.
fn describes_object(keywords: &Map<String, Value>) -> bool {
    has_type(keywords, "object") || keywords.contains_key("properties")
}

/// Whether this is a reference with nothing beside it that concerns properties.
fn is_reference(keywords: &Map<String, Value>) -> bool {
    keywords.contains_key("$ref") && !keywords.contains_key("properties") && in_place(keywords).next().is_none()
}

/// Whether the schema's `type` is `kind`, or a list that contains it.
pub(super) fn has_type(keywords: &Map<String, Value>, kind: &str) -> bool {
    match keywords.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
        Some(one) => one == kind,
        None => false,
    }
}

/// The subschemas that apply to the same value, see [`IN_PLACE`].
fn in_place(keywords: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let several = keywords.iter().filter(|(keyword, _)| IN_PLACE.contains(&keyword.as_str()));
    several.flat_map(|(keyword, value)| match value {
        Value::Array(branches) => branches.iter().collect::<Vec<_>>(),
        Value::Object(named) if keyword == "dependentSchemas" => named.values().collect(),
        one => vec![one],
    })
}

fn in_place_mut(keywords: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    let several = keywords.iter_mut().filter(|(keyword, _)| IN_PLACE.contains(&keyword.as_str()));
    several.flat_map(|(keyword, value)| match (keyword.as_str(), value) {
        (_, Value::Array(branches)) => branches.iter_mut().collect::<Vec<_>>(),
        ("dependentSchemas", Value::Object(named)) => named.values_mut().collect(),
        (_, one) => vec![one],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(mut schema: Value) -> Value {
        allow_only_declared(&mut schema);
        schema
    }

    #[test]
    fn a_silent_object_is_closed_at_every_depth() {
        let point = |more: &[(&str, Value)]| {
            let mut point = json!({"type": "object", "properties": {"x": {"type": "integer"}}});
            point.as_object_mut().unwrap().extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
            point
        };
        let no_others = [("additionalProperties", json!(false))];
        let around = |inner: Value| {
            json!({"type": "object", "properties": {"one": inner, "list": {"type": "array", "items": inner},
                "either": {"anyOf": [inner, {"type": "null"}]}}, "$defs": {"point": inner}})
        };
        let mut expected = around(point(&no_others));
        expected["additionalProperties"] = json!(false);
        assert_eq!(closed(around(point(&[]))), expected);
        assert_eq!(closed(json!({"type": "object"})), json!({"type": "object", "properties": {}, "additionalProperties": false}));
    }

    #[test]
    fn a_schema_that_speaks_about_others_stays() {
        for speaks in [
            json!({"type": "object", "additionalProperties": true}),
            json!({"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "patternProperties": {"^x-": {}}}),
            json!({"type": "object", "unevaluatedProperties": {}}),
            json!({"type": "string"}),
            json!({"description": "Anything."}),
        ] {
            assert_eq!(closed(speaks.clone()), speaks);
        }
    }

    #[test]
    fn unevaluated_properties_that_are_forbidden_are_undeclared_ones() {
        let schema = json!({"allOf": [{"properties": {"a": {}}}], "type": "object", "unevaluatedProperties": false});
        assert_eq!(
            closed(schema),
            json!({"allOf": [{"properties": {"a": {}}}], "type": "object", "properties": {"a": true}, "additionalProperties": false})
        );
    }

    #[test]
    fn combined_schemas_are_closed_together() {
        let schema = closed(json!({
            "allOf": [{"$ref": "#/$defs/base"}, {"type": "object", "properties": {"own": {"type": "string"}}, "required": ["own", "odd"]}],
            "$defs": {"base": {"type": "object", "properties": {"id": {"type": "integer"}}},
                "other": {"type": "object", "properties": {}}}}));
        assert_eq!(schema["properties"], json!({"id": true, "own": true, "odd": true}));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["base"].get("additionalProperties"), None, "closed alone it would forbid `own`");
        assert_eq!(schema["$defs"]["other"]["additionalProperties"], false);
        let one_needed = closed(
            json!({"type": "object", "properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        );
        assert_eq!(one_needed["additionalProperties"], false);
        assert_eq!(one_needed["anyOf"], json!([{"required": ["a"]}, {"required": ["b"]}]));
    }

    #[test]
    fn a_definition_is_closed_where_it_stands_alone() {
        let base = json!({"type": "object", "properties": {"a": {}}});
        let schema = closed(json!({"type": "object", "$defs": {"base": base}, "properties": {"alone": {"$ref": "#/$defs/base"},
            "more": {"allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {}}}]}}}));
        assert_eq!(schema["$defs"]["base"], base);
        let alone = json!({"$ref": "#/$defs/base", "properties": {"a": true}, "additionalProperties": false});
        assert_eq!(schema["properties"]["alone"], alone);
        assert_eq!(schema["properties"]["more"]["properties"], json!({"a": true, "b": true}));
    }

    #[test]
    fn definitions_may_stand_anywhere() {
        for (at, pointer) in
            [("components", "/components/schemas/X"), ("components", "/components/X"), ("$defs", "/$defs/group/X")]
        {
            let mut holder = json!({"type": "object"});
            let steps: Vec<&str> = pointer.split('/').skip(2).collect();
            let inner = steps
                .iter()
                .rev()
                .fold(Value::Null, |inner, step| json!({ *step: if inner.is_null() { holder.clone() } else { inner } }));
            holder[at] = inner;
            holder["properties"] = json!({"q": {"$ref": format!("#{pointer}")}});
            assert_eq!(closed(holder).pointer(pointer).unwrap()["additionalProperties"], false, "{pointer}");
        }
    }

    #[test]
    fn alternatives_that_say_nothing_of_properties_are_closed_by_their_object() {
        for keyword in ["anyOf", "oneOf"] {
            let schema = closed(json!({"type": "object", keyword: [{"required": ["a"]}, {}]}));
            assert_eq!((&schema["properties"], &schema["additionalProperties"]), (&json!({"a": true}), &json!(false)));
        }
        // These describe an object each, and are closed alone.
        let schema = closed(json!({"type": "object", "anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}));
        assert_eq!(schema.get("additionalProperties"), None);
        assert_eq!(schema["anyOf"][0]["additionalProperties"], false);
    }

    #[test]
    fn references_in_circles_end() {
        let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}});
        let schema = closed(json!({"$ref": "#/$defs/node", "$defs": {"node": node}}));
        assert_eq!(schema["$defs"]["node"]["additionalProperties"], false);
        assert_eq!(schema.get("additionalProperties"), None);
    }
}
