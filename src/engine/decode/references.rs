//! References between the parts of a JSON Schema.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::schema_parts::{SchemaPath, part_mut, parts};

/// What a written step has as `%` and a number: all that the fragment of an address cannot have.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'$').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The keywords that give a schema a name for references.
const NAMES: [&str; 3] = ["$id", "$anchor", "$dynamicAnchor"];

/// The part of the schema `root` that a `$ref` such as `#/$defs/path` points to. `None` if it points nowhere, or out of the
/// schema, or is no such path.
pub(super) fn target<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    root.pointer(&decoded(reference.strip_prefix('#')?)?)
}

/// The path that a reference such as `#/$defs/path` leads along.
pub(super) fn steps(reference: &str) -> Option<SchemaPath> {
    let pointer = decoded(reference.trim_start_matches('#'))?;
    Some(pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// Rewrites all references as paths from the root, and removes those that lead to no schema in this one. So whoever reads the
/// result finds what we find, and nothing else. Returns the paths of the removed references.
pub(super) fn resolve(root: &mut Value) -> Vec<SchemaPath> {
    let mut nowhere = Vec::new();
    for (path, target) in references(root) {
        let Some(keywords) = part_mut(root, &path).and_then(Value::as_object_mut) else { continue };
        match target {
            Some(target) => drop(keywords.insert("$ref".into(), written(&target).into())),
            None => {
                keywords.shift_remove("$ref");
                nowhere.push([&path[..], &["$ref".into()]].concat());
            }
        }
    }
    forget_names(root);
    nowhere
}

/// The path of the first reference that leads to no schema in this one.
pub(super) fn dangling(root: &Value) -> Option<SchemaPath> {
    let (path, _) = references(root).into_iter().find(|(_, target)| target.is_none())?;
    Some([&path[..], &["$ref".into()]].concat())
}

/// The path of each schema with a reference, and of the schema that this leads to.
fn references(root: &Value) -> Vec<(SchemaPath, Option<SchemaPath>)> {
    let places = Places::of(root);
    let of_place = |(path, place): (&SchemaPath, &Place)| {
        let reference = place.schema.get("$ref")?;
        Some((path.clone(), reference.as_str().and_then(|reference| places.resolve(reference, &place.resource))))
    };
    places.all.iter().filter_map(of_place).collect()
}

/// All schemas in a schema, and their names.
struct Places<'a> {
    all: BTreeMap<SchemaPath, Place<'a>>,
    /// By `$id`.
    resources: HashMap<&'a str, SchemaPath>,
    /// By `$anchor`, and the resource in which it counts.
    anchors: HashMap<(SchemaPath, &'a str), SchemaPath>,
}

struct Place<'a> {
    schema: &'a Value,
    /// The nearest schema around with an `$id`: references are relative to it.
    resource: SchemaPath,
}

impl<'a> Places<'a> {
    fn of(root: &'a Value) -> Self {
        let mut places = Self { all: BTreeMap::new(), resources: HashMap::new(), anchors: HashMap::new() };
        let mut open = vec![(SchemaPath::new(), root, SchemaPath::new())];
        while let Some((path, schema, around)) = open.pop() {
            let mut resource = around;
            if let Some(keywords) = schema.as_object() {
                let [id, anchor, dynamic] = NAMES.map(|name| keywords.get(name).and_then(Value::as_str));
                if let Some(id) = id {
                    resource = path.clone();
                    places.resources.insert(id.trim_end_matches('#'), path.clone());
                }
                for anchor in [anchor, dynamic].into_iter().flatten() {
                    places.anchors.insert((resource.clone(), anchor), path.clone());
                }
                let inside = parts(keywords).into_iter();
                open.extend(inside.map(|(steps, part)| ([&path[..], &steps].concat(), part, resource.clone())));
            }
            places.all.insert(path, Place { schema, resource });
        }
        places
    }

    /// The path of the schema that a reference in this resource leads to.
    fn resolve(&self, reference: &str, resource: &SchemaPath) -> Option<SchemaPath> {
        let (id, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resource = if id.is_empty() { resource } else { self.resources.get(id)? };
        let path = match fragment.chars().next() {
            None | Some('/') => [&resource[..], &steps(fragment)?].concat(),
            Some(_) => self.anchors.get(&(resource.clone(), fragment))?.clone(),
        };
        self.all.contains_key(&path).then_some(path)
    }
}

fn decoded(fragment: &str) -> Option<String> {
    Some(percent_decode_str(fragment).decode_utf8().ok()?.into_owned())
}

/// The reference that leads along this path.
fn written(path: &[String]) -> String {
    let step = |step: &String| format!("/{}", utf8_percent_encode(&step.replace('~', "~0").replace('/', "~1"), ENCODED));
    format!("#{}", path.iter().map(step).collect::<String>())
}

/// Removes the names of all schemas: no reference needs them any more.
fn forget_names(schema: &mut Value) {
    super::json_schema::visit(schema, &mut |keywords: &mut Map<String, Value>| {
        NAMES.iter().for_each(|name| drop(keywords.shift_remove(*name)));
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The reference of the property `a` once it is resolved, in an object with these other keywords.
    fn resolved(reference: &str, mut more: Value) -> Option<String> {
        more["properties"]["a"] = json!({"$ref": reference});
        let removed = resolve(&mut more);
        let left = more["properties"]["a"]["$ref"].as_str().map(str::to_owned);
        assert_eq!(removed.is_empty(), left.is_some(), "{removed:?}");
        if let Some(left) = &left {
            assert!(target(left, &more).is_some(), "{left}");
        }
        left
    }

    #[test]
    fn references_become_paths_however_they_are_written() {
        let defs = json!({"$id": "https://x.test/root", "$defs": {"a b/c": {"type": "null"}, "named": {"$anchor": "here"},
            "node": {"$id": "T0", "$defs": {"inner": {"$anchor": "there"}}}}});
        for (reference, expected) in [
            ("#", "#"),
            ("#/properties/a", "#/properties/a"),
            ("#/%24defs/named", "#/$defs/named"),
            ("#/$defs/a%20b~1c", "#/$defs/a%20b~1c"),
            ("#here", "#/$defs/named"),
            ("T0", "#/$defs/node"),
            ("T0#/$defs/inner", "#/$defs/node/$defs/inner"),
            ("T0#there", "#/$defs/node/$defs/inner"),
            ("https://x.test/root#/$defs/node", "#/$defs/node"),
        ] {
            assert_eq!(resolved(reference, defs.clone()).as_deref(), Some(expected), "{reference}");
        }
        for nowhere in ["#/$defs/gone", "#gone", "#there", "T1", "https://y.test/", "#/$defs", "#/%ff", "#/properties/a/$ref"] {
            assert_eq!(resolved(nowhere, defs.clone()), None, "{nowhere}");
        }
    }

    #[test]
    fn in_a_schema_with_an_address_references_begin_there() {
        let mut schema = json!({"$defs": {"b": {}, "r": {"$id": "r", "$ref": "#/$defs/b", "$defs": {"b": {}}}}});
        assert_eq!(resolve(&mut schema), Vec::<SchemaPath>::new());
        assert_eq!(schema, json!({"$defs": {"b": {}, "r": {"$ref": "#/$defs/r/$defs/b", "$defs": {"b": {}}}}}));
    }

    #[test]
    fn properties_with_the_names_of_keywords_stay() {
        let schema = json!({"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}});
        let mut same = schema.clone();
        assert_eq!(resolve(&mut same), Vec::<SchemaPath>::new());
        assert_eq!(same, schema);
    }
}
