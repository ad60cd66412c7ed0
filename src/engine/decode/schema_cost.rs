//! Bounds what compiling a schema can cost, before llguidance sees it.
//!
//! llguidance has limits of its own, but some things pass them. It merges all schemas that apply to one value (`allOf`, `$ref`),
//! and references can make a kilobyte of them millions. It intersects the regular expressions that one string must match at
//! once, which takes time and memory exponential in their number; an object of many optional properties takes time quadratic in
//! theirs. And it follows references recursively, however long the chain is.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::demand::{Applies, Demand, divisor};
use super::references;

/// Most schemas that may apply to one value.
const MOST_SCHEMAS: usize = 1_000;

/// Most regular expressions that one string may have to match at once. Five take some ten milliseconds to intersect, and each
/// more three times as long.
const MOST_EXPRESSIONS: usize = 5;

/// Most ways to combine the alternatives for one value, each counted three times for every regular expression in it. Twenty
/// patterns combined with twenty others take a second.
const MOST_COMBINATIONS: usize = 3_000;

/// Largest number that a value must be a multiple of, without factors 2 and 5: an automaton has a state for each remainder.
pub(super) const LARGEST_DIVISOR: usize = 10_000;

/// Most properties of one object: a thousand take a second or two.
const MOST_PROPERTIES: usize = 1_000;

/// Most properties of an object that limits their number: each of them may be the one that is needed, and 200 took seven seconds.
pub(super) const MOST_LIMITED: usize = 100;

/// Most properties of all objects, each counted as often as its object has some.
const MOST_SQUARES: usize = 1_200_000;

/// Most patterns for names of properties in one object: each is compared with each.
const MOST_NAME_PATTERNS: usize = 32;

/// Most demands that are combined to find out: references can multiply these too.
const MOST_STEPS: usize = 100_000;

/// Longest chain of references.
const LONGEST_CHAIN: usize = 100;

/// Why a schema is too expensive to enforce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too many schemas apply to one value.
    Schemas,
    /// Too many patterns and formats apply to one string.
    Expressions,
    /// The alternatives for one value can be combined in too many ways.
    Combinations,
    /// A value must be a multiple of too large a number.
    Divisor,
    /// An object of many properties limits their number.
    Limits,
    /// An object has too many properties, or too many objects have many.
    Properties,
    /// An object has too many patterns for the names of its properties.
    NamePatterns,
    /// References lead to references, too many times.
    References,
    /// A reference leads to what cannot be counted.
    UnknownReference,
}

impl Excess {
    /// The reason, in words.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Schemas => "too many schemas apply to one value",
            Self::Expressions => "too many patterns and formats apply to one string",
            Self::Combinations => "the alternatives for one value can be combined in too many ways",
            Self::Divisor => "a value must be a multiple of too large a number",
            Self::Limits => "an object of many properties limits their number",
            Self::Properties => "an object has too many properties",
            Self::NamePatterns => "an object has too many patterns for the names of its properties",
            Self::References => "references lead to too many others",
            Self::UnknownReference => "a reference leads nowhere",
        }
    }

    /// Whether less may be demanded without patterns and the like.
    pub(super) fn is_of_expressions(self) -> bool {
        matches!(self, Self::Expressions | Self::Combinations | Self::Divisor | Self::Limits)
    }
}

/// Why this schema is too expensive to enforce; `None` if it is not.
pub(super) fn excess(schema: &Value) -> Option<Excess> {
    let mut demands = Demands { root: schema, known: HashMap::new(), chain: 0, steps: 0, squares: 0, excess: None };
    demands.of(schema);
    demands.excess
}

/// Computes demands, those of references once. Stops at the first excess.
struct Demands<'a> {
    root: &'a Value,
    /// By reference; `None` while it is being computed, as references may be circular.
    known: HashMap<&'a str, Option<Rc<Demand>>>,
    /// How many references lead to the schema being looked at.
    chain: usize,
    /// How many demands have been combined.
    steps: usize,
    /// The sum of the squares of all objects' numbers of properties.
    squares: usize,
    excess: Option<Excess>,
}

impl<'a> Demands<'a> {
    fn of(&mut self, schema: &'a Value) -> Demand {
        let (Some(keywords), None) = (schema.as_object(), self.excess) else { return Demand::default() };
        let count = |counted: [&str; 2]| counted.iter().filter(|keyword| keywords.contains_key(**keyword)).count();
        let expressions = count(["pattern", "format"]);
        let mut demand = Demand {
            schemas: 1,
            expressions,
            combinations: 3usize.saturating_pow(expressions as u32),
            divisor: keywords.get("multipleOf").and_then(Value::as_f64).map_or(1, divisor),
            limits: count(["minProperties", "maxProperties"]),
            properties: self.properties(keywords),
            others: self.others(keywords),
        };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            let target = self.of_reference(reference);
            self.combine(&mut demand, &target, Applies::Both);
        }
        for schema in branches(keywords, "allOf") {
            let branch = self.of(schema);
            self.combine(&mut demand, &branch, Applies::Both);
        }
        for alternatives in ["anyOf", "oneOf"] {
            if let Some(most) = self.most(branches(keywords, alternatives)) {
                self.combine(&mut demand, &most, Applies::Both);
            }
        }
        self.squares += demand.properties.len().saturating_pow(2);
        self.check(&demand);
        demand
    }

    fn of_reference(&mut self, reference: &'a str) -> Rc<Demand> {
        if let Some(known) = self.known.get(reference) {
            return known.clone().unwrap_or_default();
        }
        if self.chain == LONGEST_CHAIN {
            self.found(Excess::References);
            return Rc::default();
        }
        let Some(target) = references::target(reference, self.root) else {
            self.found(Excess::UnknownReference);
            return Rc::default();
        };
        self.chain += 1;
        self.known.insert(reference, None);
        let demand = Rc::new(self.of(target));
        self.known.insert(reference, Some(demand.clone()));
        self.chain -= 1;
        demand
    }

    fn properties(&mut self, keywords: &'a Map<String, Value>) -> BTreeMap<String, Rc<Demand>> {
        let properties = keywords.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.map(|(name, schema)| (name.clone(), Rc::new(self.of(schema)))).collect()
    }

    fn others(&mut self, keywords: &'a Map<String, Value>) -> Option<Rc<Demand>> {
        let patterns = keywords.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let patterns: Vec<&Value> = patterns.collect();
        if patterns.len() > MOST_NAME_PATTERNS {
            self.found(Excess::NamePatterns);
        }
        let others = ["additionalProperties", "items"].into_iter().filter_map(|keyword| keywords.get(keyword));
        let all: Vec<&Value> = patterns.into_iter().chain(others).chain(branches(keywords, "prefixItems")).collect();
        self.most(all).map(Rc::new)
    }

    /// The most that any of these schemas demands; `None` if there are none.
    fn most(&mut self, schemas: impl IntoIterator<Item = &'a Value>) -> Option<Demand> {
        let mut schemas = schemas.into_iter();
        let mut most = self.of(schemas.next()?);
        for schema in schemas {
            let demand = self.of(schema);
            self.combine(&mut most, &demand, Applies::Either);
        }
        Some(most)
    }

    /// Adds their demand to ours.
    fn combine(&mut self, ours: &mut Demand, theirs: &Demand, applies: Applies) {
        self.steps += 1 + theirs.properties.len();
        if self.steps > MOST_STEPS {
            self.found(Excess::Schemas);
        }
        if self.excess.is_some() {
            return;
        }
        let were = [ours.combinations, theirs.combinations];
        ours.schemas = applies.count(ours.schemas, theirs.schemas);
        ours.expressions = applies.count(ours.expressions, theirs.expressions);
        ours.combinations = applies.combinations(ours.combinations, theirs.combinations);
        ours.divisor = applies.divisor(ours.divisor, theirs.divisor);
        ours.limits = applies.count(ours.limits, theirs.limits);
        // What one of two schemas says of other properties applies to those that only the other one names.
        let [our_others, their_others] =
            [&ours.others, &theirs.others].map(|others| others.clone().filter(|_| matches!(applies, Applies::Both)));
        for (_, ours) in ours.properties.iter_mut().filter(|(name, _)| !theirs.properties.contains_key(*name)) {
            if let Some(others) = &their_others {
                self.combine(Rc::make_mut(ours), others, applies);
            }
        }
        for (name, theirs) in &theirs.properties {
            match (ours.properties.get_mut(name), &our_others) {
                (Some(ours), _) => self.combine(Rc::make_mut(ours), theirs, applies),
                (None, others) => {
                    let mut theirs = theirs.clone();
                    if let Some(others) = others {
                        self.combine(Rc::make_mut(&mut theirs), others, applies);
                    }
                    ours.properties.insert(name.clone(), theirs);
                }
            }
        }
        match (&mut ours.others, &theirs.others) {
            (Some(ours), Some(theirs)) => self.combine(Rc::make_mut(ours), theirs, applies),
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(_), None) => {}
        }
        self.check(ours);
        // Alternatives alone are no more than the schema has.
        let combined = matches!(applies, Applies::Both) && were.iter().all(|count| *count > 1);
        if combined && ours.combinations > MOST_COMBINATIONS {
            self.found(Excess::Combinations);
        }
    }

    fn check(&mut self, demand: &Demand) {
        if demand.schemas > MOST_SCHEMAS {
            self.found(Excess::Schemas);
        } else if demand.expressions > MOST_EXPRESSIONS {
            self.found(Excess::Expressions);
        } else if demand.divisor > LARGEST_DIVISOR {
            self.found(Excess::Divisor);
        } else if demand.limits > 0 && demand.properties.len() > MOST_LIMITED {
            self.found(Excess::Limits);
        } else if demand.properties.len() > MOST_PROPERTIES || self.squares > MOST_SQUARES {
            self.found(Excess::Properties);
        }
    }

    fn found(&mut self, excess: Excess) {
        self.excess.get_or_insert(excess);
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

    /// Definitions whose two properties are each the next definition: as a tree, these are 2^length schemas. By `keyword`, the
    /// first is referred to once or applied twice.
    fn branching(length: usize, names: &[&str], keyword: &str) -> Value {
        let next = |at: usize| json!({"$ref": format!("#/$defs/d{}", at + 1)});
        let both = |at: usize| json!({"properties": names.iter().map(|name| ((*name).into(), next(at))).collect::<Map<_, _>>()});
        let mut definitions: Map<String, Value> = (0..length).map(|at| (format!("d{at}"), both(at))).collect();
        definitions.insert(format!("d{length}"), json!({"type": "string"}));
        let first = json!({"$ref": "#/$defs/d0"});
        let first = if keyword == "allOf" { json!({"allOf": [first, {"$ref": "#/$defs/d1"}, first]}) } else { first };
        json!({"type": "object", "properties": {"p": first}, "$defs": definitions})
    }

    /// An object of this many properties.
    fn objects(count: usize) -> Value {
        json!({"type": "object", "properties": (0..count).map(|at| (at.to_string(), json!({}))).collect::<Map<_, _>>()})
    }

    fn names(count: usize) -> Map<String, Value> {
        (0..count).map(|at| (format!("^x{at}$"), json!({}))).collect()
    }

    /// Definitions each of which refers to the next.
    fn chain(length: usize) -> Value {
        let next = |at: usize| json!({"$ref": format!("#/$defs/d{}", at + 1)});
        let mut definitions: Map<String, Value> = (0..length).map(|at| (format!("d{at}"), next(at))).collect();
        definitions.insert(format!("d{length}"), json!({"type": "string"}));
        json!({"type": "object", "properties": {"p": next(0)}, "$defs": definitions})
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
            (in_property(json!({"allOf": alternatives})), Some(Excess::Combinations)),
            (in_property(json!({"anyOf": patterns(50)})), None),
            (in_property(json!({"type": "array", "items": {"allOf": patterns(9)}})), Some(Excess::Expressions)),
            (doubling(60, json!({"type": "string"})), Some(Excess::Schemas)),
            (branching(90, &["a", "b"], "$ref"), None),
            (branching(90, &["a", "b"], "allOf"), Some(Excess::Schemas)),
            (json!({"properties": {"*": {"allOf": patterns(9)}}}), Some(Excess::Expressions)),
            (json!({"patternProperties": names(33)}), Some(Excess::NamePatterns)),
            (chain(90), None),
            (chain(200_000), Some(Excess::References)),
            (
                json!({"properties": (0..1_001).map(|at| (at.to_string(), json!({}))).collect::<Map<_, _>>()}),
                Some(Excess::Properties),
            ),
            (doubling(3, json!({"type": "string", "pattern": "x"})), Some(Excess::Expressions)),
            (doubling(3, json!({"type": "string"})), None),
            (in_property(json!({"allOf": [{"anyOf": patterns(16)}, {"anyOf": patterns(16)}]})), None),
            (in_property(json!({"allOf": vec![json!({"anyOf": patterns(8)}); 5]})), Some(Excess::Combinations)),
            (
                in_property(json!({"allOf": vec![json!({"anyOf": vec![json!({"type": "object"}); 9]}); 4]})),
                Some(Excess::Combinations),
            ),
            (in_property(json!({"anyOf": vec![json!({"type": "object"}); 5_000]})), None),
            (in_property(json!({"multipleOf": 9_999})), None),
            (
                json!({"allOf": [in_property(json!({"allOf": patterns(3)})), {"additionalProperties": {"allOf": patterns(3)}}]}),
                Some(Excess::Expressions),
            ),
            (in_property(json!({"allOf": [{"multipleOf": 9_973}, {"multipleOf": 7}]})), Some(Excess::Divisor)),
            (
                json!({"properties": (0..40).map(|at| (at.to_string(), objects(1_000))).collect::<Map<_, _>>()}),
                Some(Excess::Properties),
            ),
            (json!({"properties": (0..20).map(|at| (at.to_string(), objects(50))).collect::<Map<_, _>>()}), None),
            (json!({"allOf": [objects(101), {"minProperties": 1}]}), Some(Excess::Limits)),
            (json!({"allOf": [objects(100), {"minProperties": 1}]}), None),
            (in_property(json!({"$ref": "#/$defs/gone"})), Some(Excess::UnknownReference)),
            (in_property(json!({"$ref": "#/%24defs/d", "$defs": {}})), Some(Excess::UnknownReference)),
            (
                json!({"allOf": [{"$ref": "#/%24defs/d"}, {"$ref": "#/$defs/d"}], "$defs": {"d": {"allOf": patterns(4)}}}),
                Some(Excess::Expressions),
            ),
        ] {
            let shown: String = schema.to_string().chars().take(300).collect();
            assert_eq!(excess(&schema), expected, "{shown}");
        }
    }

    #[test]
    fn circular_references_end() {
        let tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
            "allOf": [{"$ref": "#"}], "anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}});
        assert_eq!(excess(&tree), None);
    }
}
