//! Bounds what compiling a schema can cost, before llguidance sees it.
//!
//! llguidance has limits of its own, but two things pass them. It merges all schemas that apply to one value (`allOf`, `$ref`),
//! and references can make a kilobyte of them millions. And it intersects the regular expressions that one string must match at
//! once, which takes time and memory exponential in their number.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::references;

/// Most schemas that may apply to one value.
const MOST_SCHEMAS: usize = 1_000;

/// Most regular expressions that one string may have to match at once. Five take some ten milliseconds to intersect, and each
/// more three times as long.
const MOST_EXPRESSIONS: usize = 5;

/// What is too much in a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too many schemas apply to one value.
    Schemas,
    /// Too many patterns and formats apply to one string.
    Expressions,
}

impl Excess {
    /// The reason, in words.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Schemas => "too many schemas apply to one value",
            Self::Expressions => "too many patterns and formats apply to one string",
        }
    }
}

/// What is too much in this schema, if anything is.
pub(super) fn excess(schema: &Value) -> Option<Excess> {
    let mut demands = Demands { root: schema, known: HashMap::new() };
    demands.of(schema).excess()
}

/// What a schema demands of one value, and of the values inside it. Counts saturate.
#[derive(Clone, Default)]
struct Demand {
    /// Number of schemas that apply.
    schemas: usize,
    /// Number of regular expressions that apply.
    expressions: usize,
    /// Of the properties, by name; `*` stands for all others, and for items.
    inside: BTreeMap<String, Rc<Demand>>,
}

impl Demand {
    fn excess(&self) -> Option<Excess> {
        if self.schemas > MOST_SCHEMAS {
            return Some(Excess::Schemas);
        }
        if self.expressions > MOST_EXPRESSIONS {
            return Some(Excess::Expressions);
        }
        self.inside.values().find_map(|demand| demand.excess())
    }

    /// Combines with another demand: `count` says how numbers combine.
    fn combine(&mut self, other: &Self, count: fn(usize, usize) -> usize) {
        self.schemas = count(self.schemas, other.schemas);
        self.expressions = count(self.expressions, other.expressions);
        for (name, theirs) in &other.inside {
            match self.inside.get_mut(name) {
                Some(ours) => Rc::make_mut(ours).combine(theirs, count),
                None => drop(self.inside.insert(name.clone(), theirs.clone())),
            }
        }
    }
}

/// Computes demands, those of references once.
struct Demands<'a> {
    root: &'a Value,
    /// By reference; `None` while it is being computed, as references may be circular.
    known: HashMap<&'a str, Option<Rc<Demand>>>,
}

impl<'a> Demands<'a> {
    fn of(&mut self, schema: &'a Value) -> Demand {
        let Some(keywords) = schema.as_object() else { return Demand::default() };
        let expressions = ["pattern", "format"].iter().filter(|keyword| keywords.contains_key(**keyword)).count();
        let mut demand = Demand { schemas: 1, expressions, inside: self.inside(keywords) };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            demand.combine(&self.of_reference(reference), usize::saturating_add);
        }
        for schema in branches(keywords, "allOf") {
            demand.combine(&self.of(schema), usize::saturating_add);
        }
        for alternatives in ["anyOf", "oneOf"] {
            // One of them applies: the most that any demands is assumed.
            let mut most = Demand::default();
            for schema in branches(keywords, alternatives) {
                most.combine(&self.of(schema), usize::max);
            }
            demand.combine(&most, usize::saturating_add);
        }
        demand
    }

    fn of_reference(&mut self, reference: &'a str) -> Rc<Demand> {
        if let Some(known) = self.known.get(reference) {
            return known.clone().unwrap_or_default();
        }
        self.known.insert(reference, None);
        let demand = Rc::new(references::target(reference, self.root).map(|target| self.of(target)).unwrap_or_default());
        self.known.insert(reference, Some(demand.clone()));
        demand
    }

    /// The demands of the values inside.
    fn inside(&mut self, keywords: &'a Map<String, Value>) -> BTreeMap<String, Rc<Demand>> {
        let properties = keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut inside: BTreeMap<_, _> = properties.map(|(name, schema)| (name.clone(), Rc::new(self.of(schema)))).collect();
        let patterns = keywords.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let others = ["additionalProperties", "items"].into_iter().filter_map(|keyword| keywords.get(keyword));
        let mut most = Demand::default();
        for schema in patterns.chain(others).chain(branches(keywords, "prefixItems")) {
            most.combine(&self.of(schema), usize::max);
        }
        inside.insert("*".into(), Rc::new(most));
        inside
    }
}

fn branches<'a>(keywords: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patterns(count: usize) -> Vec<Value> {
        (0..count).map(|at| json!({"type": "string", "pattern": format!(".*{at}.*")})).collect()
    }

    /// Definitions each of which applies the next twice: a chain of this length makes 2^length schemas.
    fn doubling(length: usize, last: Value) -> Value {
        let twice =
            |at: usize| json!({"allOf": [{"$ref": format!("#/$defs/d{}", at + 1)}, {"$ref": format!("#/$defs/d{}", at + 1)}]});
        let mut definitions: Map<String, Value> = (0..length).map(|at| (format!("d{at}"), twice(at))).collect();
        definitions.insert(format!("d{length}"), last);
        json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
    }

    #[test]
    fn what_grows_without_bound_is_found() {
        let in_property = |schema: Value| json!({"type": "object", "properties": {"p": schema}});
        let merged: Vec<Value> = patterns(9).into_iter().map(in_property).collect();
        let alternatives: Vec<Value> = (0..9).map(|_| json!({"anyOf": patterns(2)})).collect();
        for (schema, expected) in [
            (in_property(json!({"allOf": patterns(5)})), None),
            (in_property(json!({"allOf": patterns(6)})), Some(Excess::Expressions)),
            (json!({"allOf": merged}), Some(Excess::Expressions)),
            (in_property(json!({"allOf": alternatives})), Some(Excess::Expressions)),
            (in_property(json!({"anyOf": patterns(50)})), None),
            (in_property(json!({"type": "array", "items": {"allOf": patterns(9)}})), Some(Excess::Expressions)),
            (doubling(60, json!({"type": "string"})), Some(Excess::Schemas)),
            (doubling(3, json!({"type": "string", "pattern": "x"})), Some(Excess::Expressions)),
            (doubling(3, json!({"type": "string"})), None),
        ] {
            assert_eq!(excess(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn circular_references_end() {
        let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "allOf": [{"$ref": "#"}], "anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}});
        assert_eq!(excess(&tree), None);
    }
}
