//! Opens the parts of a schema that no grammar can be made of, so that the rest of it is still enforced.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::fault::{self, Fault};
use super::schema_parts::{Compiles, part_mut, shown};

/// Most parts that are opened.
const MOST_OPENED: usize = 20;

/// Most parts that are tried alone to find those, each in one compilation.
const MOST_TRIED: usize = 400;

/// The schema with its unusable parts allowing anything, and what these were. `compiles` tells whether llguidance accepts a
/// schema. The schema stays unusable where its parts are usable alone but not together, or where it has too many.
pub(super) fn open_unusable_parts(schema: &Value, compiles: Compiles) -> (Value, Vec<String>) {
    let (mut schema, mut opened) = (schema.clone(), Vec::new());
    let left = Cell::new(MOST_TRIED);
    let known: RefCell<HashMap<String, bool>> = RefCell::default();
    let fault = |part: &Value| {
        let alone = json!({"type": "object", "properties": {"part": part}, "required": ["part"]});
        let text = alone.to_string();
        let usable = known.borrow().get(&text).copied();
        let usable = match usable {
            Some(usable) => usable,
            None => {
                left.set(left.get().checked_sub(1)?);
                *known.borrow_mut().entry(text).or_insert(compiles(&alone).is_ok())
            }
        };
        (!usable).then(String::new)
    };
    while opened.len() < MOST_OPENED
        && let Some(Fault { path, .. }) = fault::innermost(&schema, &fault)
        && left.get() > 0
    {
        let keyword = part_mut(&mut schema, &path).and_then(|part| part.as_object_mut()).and_then(|keywords| {
            // Of a part with nothing else the path says enough.
            let keyword = (keywords.len() > 1).then(|| keyword_at_fault(keywords, path.is_empty(), &fault)).flatten()?;
            remove(keywords, &keyword);
            Some(keyword)
        });
        match keyword {
            Some(keyword) => opened.push(reason(&[path, vec![keyword]].concat())),
            None if path.is_empty() => break,
            None => {
                open(&mut schema, &path);
                opened.push(reason(&path));
            }
        }
    }
    (schema, opened)
}

fn reason(path: &[String]) -> String {
    format!("{}, which no grammar can be made of", shown(path))
}

/// The keyword without which this part is usable alone; of several, the one whose loss loosens the schema least. The type of the
/// whole schema stays: a tool's arguments are an object in any case.
fn keyword_at_fault(keywords: &Map<String, Value>, is_whole: bool, fault: &dyn Fn(&Value) -> Option<String>) -> Option<String> {
    let weight = |name: &str| match name {
        "type" => 2,
        "properties" => 1,
        _ => 0,
    };
    let is_usable_without = |name: &&String| {
        let mut rest = keywords.clone();
        rest.shift_remove(*name);
        fault(&fault::alone(&rest.into())).is_none()
    };
    let mut names: Vec<_> = keywords.keys().filter(|name| !(is_whole && *name == "type")).collect();
    names.sort_by_key(|name| weight(name));
    names.into_iter().find(is_usable_without).cloned()
}

/// Removes a keyword without forbidding what it allowed. The properties or items that it described would otherwise fall under the
/// keyword for all others, so that allows anything now.
fn remove(keywords: &mut Map<String, Value>, name: &str) {
    keywords.shift_remove(name);
    let for_others = match name {
        "properties" | "patternProperties" => "additionalProperties",
        "prefixItems" => "items",
        _ => return,
    };
    keywords.insert(for_others.to_owned(), Value::Bool(true));
}

/// Makes the part allow anything.
fn open(schema: &mut Value, path: &[String]) {
    match part_mut(schema, path) {
        // A reference that leads nowhere: its path ends at the keyword.
        Some(Value::String(_)) if path.last().is_some_and(|step| step == "$ref") => {
            let around = path.split_last().and_then(|(_, around)| part_mut(schema, around)).and_then(Value::as_object_mut);
            around.into_iter().for_each(|keywords| drop(keywords.remove("$ref")));
        }
        Some(part) => *part = Value::Bool(true),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(schema: Value) -> (Value, Vec<String>) {
        let (schema, opened) = open_unusable_parts(&schema, &|schema| match schema.to_string().contains("bad") {
            true => Err("bad".into()),
            false => Ok(()),
        });
        (schema, opened.into_iter().map(|reason| reason.split(',').next().unwrap_or_default().to_owned()).collect())
    }

    #[test]
    fn only_the_unusable_parts_are_opened() {
        let schema = json!({"type": "object", "properties": {"a": {"items": {"pattern": "bad"}}, "b": {"type": "string"},
            "c": {"anyOf": [{"type": "null"}, {"format": "bad"}]}, "d": "bad"}});
        let (schema, paths) = opened(schema);
        let open = json!({"a": {"items": true}, "b": {"type": "string"}, "c": {"anyOf": [{"type": "null"}, true]}, "d": true});
        assert_eq!(schema["properties"], open);
        assert_eq!(paths, [".properties.a.items", ".properties.c.anyOf.1", ".properties.d"]);
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_removed() {
        let (schema, paths) = opened(json!({"properties": {"a": {"$ref": "#/$defs/gone", "title": "A"}}}));
        assert_eq!(schema["properties"]["a"], json!({"title": "A"}));
        assert_eq!(paths, [".properties.a.$ref"]);
    }

    #[test]
    fn a_keyword_at_fault_is_removed_alone() {
        let (schema, paths) = opened(json!({"type": "object", "required": ["bad"], "patternProperties": {"b": {"type": "null"}},
            "properties": {"a": {"type": "object", "patternProperties": {"^bad": {"type": "null"}}, "minProperties": 1}}}));
        let rest = json!({"type": "object", "patternProperties": {"b": {"type": "null"}},
            "properties": {"a": {"type": "object", "minProperties": 1, "additionalProperties": true}}});
        assert_eq!(schema, rest);
        assert_eq!(paths, [".properties.a.patternProperties", ".required"]);
    }

    #[test]
    fn a_type_goes_last_and_that_of_the_whole_schema_stays() {
        // Unusable as long as there are two of these words.
        let contradictory = |schema: &Value| {
            let text = schema.to_string();
            let found = ["\"object\"", "\"required\"", "\"enum\""].iter().filter(|word| text.contains(**word)).count();
            // The parts are tried inside of an object with a required property.
            if found > 2 { Err(String::new()) } else { Ok(()) }
        };
        let (schema, paths) = open_unusable_parts(&json!({"type": "object", "enum": [1]}), &contradictory);
        assert_eq!(schema, json!({"type": "object"}));
        assert_eq!(paths, [".enum, which no grammar can be made of"]);
    }

    #[test]
    fn a_schema_that_is_unusable_by_more_than_one_keyword_stays() {
        let schema = json!({"type": "bad", "required": ["bad"]});
        assert_eq!(opened(schema.clone()), (schema, vec![]));
    }

    #[test]
    fn of_too_many_parts_some_stay() {
        let properties: serde_json::Map<String, Value> =
            (0..1_000).map(|at| (format!("p{at}"), json!({"pattern": "bad"}))).collect();
        assert!(opened(json!({"type": "object", "properties": properties})).1.len() <= MOST_OPENED);
    }
}
