//! Finds references that no finite value can satisfy, such as a node that requires a next node.
//!
//! A grammar compiles for such a schema, but an answer held to it never ends.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::declared_properties::has_type;
use super::references;
use super::schema_parts::{SchemaPath, part_mut, parts, shown};

/// Most references that are removed. Each takes several passes over the schema.
const MOST_REMOVED: usize = 50;

/// Most references of a schema that is looked at: a pass over them settles one link of a chain.
const MOST_REFERENCES: usize = 1_000;

/// Removes the references that no finite value can satisfy, and returns their paths. What they stand beside stays.
pub(super) fn remove_endless_references(schema: &mut Value) -> Vec<String> {
    let mut removed = Vec::new();
    while removed.len() < MOST_REMOVED
        && let Some(path) = endless_reference(schema)
        && let Some(keywords) = part_mut(schema, &path).and_then(Value::as_object_mut)
    {
        keywords.remove("$ref");
        removed.push(format!("{}, which nothing finite satisfies", shown(&[&path[..], &["$ref".into()]].concat())));
    }
    removed
}

/// The path of a schema whose reference is endless: if there is one, a reference to a schema around itself, or else the
/// innermost.
fn endless_reference(schema: &Value) -> Option<SchemaPath> {
    let mut references = references_from_root(schema);
    if references.len() > MOST_REFERENCES {
        return None;
    }
    let finite = finite_references(&references, schema);
    references.retain(|(_, reference)| !finite.contains(reference) && references::target(reference, schema).is_some());
    let is_inside =
        |(path, reference): &&(SchemaPath, &str)| references::steps(reference).is_some_and(|around| path.starts_with(&around));
    let (path, _) = references.iter().find(is_inside).or_else(|| references.iter().max_by_key(|(path, _)| path.len()))?;
    Some(path.clone())
}

/// The references that a value may have to satisfy, each with the path of the schema that it stands in: definitions count only
/// where something refers to them.
fn references_from_root(root: &Value) -> Vec<(SchemaPath, &str)> {
    let mut found: Vec<(SchemaPath, &str)> = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![(SchemaPath::new(), root)];
    while let Some((path, schema)) = open.pop() {
        let Some(keywords) = schema.as_object() else { continue };
        let inside = parts(keywords).into_iter().filter(|(steps, _)| !["$defs", "definitions"].contains(&steps[0].as_str()));
        open.extend(inside.map(|(steps, part)| ([&path[..], &steps].concat(), part)));
        let Some(reference) = keywords.get("$ref").and_then(Value::as_str) else { continue };
        if seen.insert(reference)
            && let Some(target) = references::target(reference, root)
            && let Some(steps) = references::steps(reference)
        {
            open.push((steps, target));
        }
        found.push((path, reference));
        if found.len() > MOST_REFERENCES {
            break;
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The references whose targets some finite value satisfies: the least set that the rules of [`Finite::is_finite`] make complete.
fn finite_references<'a>(references: &[(SchemaPath, &'a str)], root: &'a Value) -> HashSet<&'a str> {
    let mut known = Finite { references: HashSet::new() };
    let mut undecided: HashSet<&str> = references.iter().map(|(_, reference)| *reference).collect();
    loop {
        let finite: Vec<&str> = undecided
            .iter()
            .filter(|reference| references::target(reference, root).is_none_or(|target| known.is_finite(target)))
            .copied()
            .collect();
        if finite.is_empty() {
            return known.references;
        }
        for reference in finite {
            undecided.remove(reference);
            known.references.insert(reference);
        }
    }
}

/// What is known of a schema's references so far.
struct Finite<'a> {
    /// The references that finite values satisfy.
    references: HashSet<&'a str>,
}

impl Finite<'_> {
    /// Whether a finite value may satisfy the schema. May be wrong in saying yes, never in saying no: it does not combine
    /// schemas.
    fn is_finite(&self, schema: &Value) -> bool {
        let Some(keywords) = schema.as_object() else { return true };
        if keywords.contains_key("const") || keywords.contains_key("enum") {
            return true;
        }
        let reference = keywords.get("$ref").and_then(Value::as_str);
        let branches = |keyword: &str| keywords.get(keyword).and_then(Value::as_array).filter(|branches| !branches.is_empty());
        reference.is_none_or(|reference| self.references.contains(reference))
            && branches("allOf").is_none_or(|all| all.iter().all(|branch| self.is_finite(branch)))
            && ["anyOf", "oneOf"].into_iter().filter_map(branches).all(|any| any.iter().any(|branch| self.is_finite(branch)))
            && self.has_finite_type(keywords)
    }

    /// Whether one of the types that the schema allows has finite values.
    fn has_finite_type(&self, keywords: &Map<String, Value>) -> bool {
        let others = ["string", "number", "integer", "boolean", "null"];
        !keywords.contains_key("type")
            || others.iter().any(|kind| has_type(keywords, kind))
            || has_type(keywords, "object") && self.is_finite_object(keywords)
            || has_type(keywords, "array") && self.is_finite_list(keywords)
    }

    fn is_finite_object(&self, keywords: &Map<String, Value>) -> bool {
        let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let schemas = required.filter_map(|name| keywords.get("properties").and_then(|properties| properties.get(name)));
        schemas.into_iter().all(|schema| self.is_finite(schema))
    }

    fn is_finite_list(&self, keywords: &Map<String, Value>) -> bool {
        let least = keywords.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
        let first = ["prefixItems", "items"].into_iter().filter_map(|keyword| keywords.get(keyword).and_then(Value::as_array));
        let first: Vec<&Value> = first.flatten().collect();
        let others = keywords.get("items").filter(|items| least > first.len() && !items.is_array());
        first.into_iter().take(least).chain(others).all(|schema| self.is_finite(schema))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn removed(mut schema: Value) -> Vec<String> {
        let removed = remove_endless_references(&mut schema);
        assert_eq!(remove_endless_references(&mut schema), Vec::<String>::new(), "{schema}");
        removed.into_iter().map(|reason| reason.split(',').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn what_ends_somewhere_stays() {
        let tree = json!({"type": "object", "required": ["children"],
            "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        let list = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"],
            "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}}}});
        let optional = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        let nowhere = json!({"$ref": "#/$defs/gone"});
        let unused = json!({"type": "object", "$defs": {"n": {"$ref": "#/$defs/n"}}});
        for schema in [tree, list, optional, nowhere, unused, json!(true), json!({"type": "object", "required": ["a"]})] {
            assert_eq!(removed(schema.clone()), Vec::<String>::new(), "{schema}");
        }
    }

    #[test]
    fn what_never_ends_is_cut_where_it_comes_back_to_itself() {
        let node = |next: Value| json!({"type": "object", "required": ["next"], "properties": {"next": next}});
        let of = |schema: Value, node: Value| json!({"type": "object", "properties": {"a": schema}, "$defs": {"n": node}});
        let reference = json!({"$ref": "#/$defs/n"});
        for (schema, path) in [
            (json!({"$ref": "#"}), ".$ref"),
            (json!({"allOf": [{"$ref": "#"}]}), ".allOf.0.$ref"),
            (of(reference.clone(), node(reference.clone())), ".$defs.n.properties.next.$ref"),
            (of(reference.clone(), node(json!({"anyOf": [reference, reference]}))), ".$defs.n.properties.next.anyOf.0.$ref"),
            (node(json!({"type": "array", "minItems": 1, "items": {"$ref": "#"}})), ".properties.next.items.$ref"),
        ] {
            assert_eq!(removed(schema.clone()), [path], "{schema}");
        }
        let both = json!({"$ref": "#/$defs/a", "$defs": {"a": node(json!({"$ref": "#/$defs/b"})), "b": node(json!({"$ref": "#/$defs/a"}))}});
        assert_eq!(removed(both), [".$defs.b.properties.next.$ref"]);
    }
}
