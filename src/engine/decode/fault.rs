//! Finds the innermost part of an unusable schema, so that the error can name its path.

use serde_json::Value;

use super::references;
use super::schema_parts::{SchemaPath, parts};

/// An unusable part of a schema.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// The path to the part; empty for the whole schema.
    pub path: SchemaPath,
    /// What is wrong with it.
    pub reason: String,
}

/// The innermost part for which `fault` returns a reason when it is tried alone, or else the first reference without a target.
/// `None` if every part is usable alone, but not the whole.
pub(super) fn innermost(schema: &Value, fault: &dyn Fn(&Value) -> Option<String>) -> Option<Fault> {
    at_fault(schema, fault).or_else(|| dangling(schema))
}

/// The innermost part that is at fault on its own.
fn at_fault(schema: &Value, fault: &dyn Fn(&Value) -> Option<String>) -> Option<Fault> {
    let keywords = match schema {
        Value::Object(keywords) => keywords,
        // On its own `false` allows no value and would look like a fault; as a part it legitimately forbids
        // something.
        Value::Bool(_) => return None,
        _ => return Some(Fault { path: vec![], reason: "a schema is an object or a boolean".into() }),
    };
    let reason = fault(&alone(schema))?;
    let inside = parts(keywords).into_iter().find_map(|(step, part)| at_fault(part, fault).map(|fault| fault.under(step)));
    Some(inside.unwrap_or(Fault { path: vec![], reason }))
}

/// The part as it can be checked on its own: without references, as those cannot be resolved there. Their targets are checked
/// where they are defined.
pub(super) fn alone(part: &Value) -> Value {
    let mut alone = part.clone();
    remove_references(&mut alone);
    alone
}

/// The first reference that cannot be resolved within the schema.
fn dangling(schema: &Value) -> Option<Fault> {
    let path = references::dangling(schema)?;
    let reference = path.iter().try_fold(schema, |part, step| match part {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => part.get(step),
    })?;
    Some(Fault { reason: format!("{reference} leads nowhere in this schema"), path })
}

impl Fault {
    /// The same fault, seen from one level further out.
    fn under(self, step: SchemaPath) -> Self {
        Self { path: [step, self.path].concat(), ..self }
    }
}

/// Removes every `$ref` keyword, at any depth.
fn remove_references(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            // A property may itself be called `$ref`. Its value is then a schema, not a string.
            if keywords.get("$ref").is_some_and(Value::is_string) {
                keywords.remove("$ref");
            }
            keywords.values_mut().for_each(remove_references);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema_parts::shown;
    use super::*;

    fn found(schema: Value) -> Option<(String, String)> {
        let fault = |schema: &Value| schema.to_string().contains("bad").then(|| "is bad".to_owned());
        innermost(&schema, &fault).map(|fault| (shown(&fault.path), fault.reason))
    }

    #[test]
    fn the_innermost_part_is_named() {
        let bad = json!({"pattern": "bad"});
        for (schema, path) in [
            (bad.clone(), ""),
            (json!({"properties": {"fine": {}, "list": {"items": bad}}}), ".properties.list.items"),
            (json!({"anyOf": [{"type": "null"}, {"additionalProperties": bad}]}), ".anyOf.1.additionalProperties"),
            (json!({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": bad}}), ".$defs.b"),
            (json!({"required": ["bad"], "properties": {"a": false}}), ""),
        ] {
            assert_eq!(found(schema.clone()), Some((path.to_owned(), "is bad".to_owned())), "{schema}");
        }
        assert_eq!(found(json!({"properties": {"a": 7}, "title": "bad"})).unwrap().0, ".properties.a");
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_named() {
        let schema = json!({"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/$defs/gone"}}, "$defs": {"here": {}}});
        assert_eq!(found(schema), Some((".properties.b.$ref".into(), "\"#/$defs/gone\" leads nowhere in this schema".into())));
        assert_eq!(found(json!({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}})), None);
    }
}
