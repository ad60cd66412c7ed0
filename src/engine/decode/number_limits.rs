//! Makes the limits of numbers such that a grammar can have them.

use serde_json::{Map, Value, json};

use super::declared_properties::has_type;
use super::demand::divisor;
use super::schema_cost::LARGEST_DIVISOR;

/// 2^53 - 1, the largest whole number that every JSON parser reads exactly. Unbounded numbers get this bound, since a grammar
/// would otherwise allow hundreds of digits.
pub(super) const LARGEST_NUMBER: i64 = 9_007_199_254_740_991;

/// Changes the limits of numbers in a schema. Returns those that are not enforced.
pub(super) fn narrow(keywords: &mut Map<String, Value>) -> Vec<String> {
    let mut left_out = remove_unreachable_limits(keywords);
    bound_numbers(keywords);
    if let Some(number) = keywords.get("multipleOf").filter(|number| number.as_f64().is_some_and(is_too_fine)) {
        left_out.push(format!("multipleOf {number}"));
        keywords.shift_remove("multipleOf");
    }
    left_out
}

/// Removes limits of integers that lie beyond 64 bits, which grammars do not have. Returns those that forbid what is within.
fn remove_unreachable_limits(keywords: &mut Map<String, Value>) -> Vec<String> {
    if !has_type(keywords, "integer") || has_type(keywords, "number") {
        return vec![];
    }
    let mut forbidding = Vec::new();
    for (limit, is_lower) in [("minimum", true), ("exclusiveMinimum", true), ("maximum", false), ("exclusiveMaximum", false)] {
        let Some(number) = keywords.get(limit).and_then(Value::as_f64).filter(|number| number.abs() >= i64::MAX as f64) else {
            continue;
        };
        keywords.shift_remove(limit);
        if is_lower == (number > 0.0) {
            forbidding.push(format!("{limit} {number:e}"));
        }
    }
    forbidding
}

/// Adds [`LARGEST_NUMBER`] as the limit of numbers that have none.
fn bound_numbers(keywords: &mut Map<String, Value>) {
    let is_number = has_type(keywords, "number") || has_type(keywords, "integer");
    if !is_number || keywords.contains_key("enum") || keywords.contains_key("const") {
        return;
    }
    for (limit, exclusive, bound) in
        [("minimum", "exclusiveMinimum", -LARGEST_NUMBER), ("maximum", "exclusiveMaximum", LARGEST_NUMBER)]
    {
        if !keywords.contains_key(limit) && !keywords.get(exclusive).is_some_and(Value::is_number) && leaves_room(keywords, bound)
        {
            keywords.insert(limit.into(), json!(bound));
        }
    }
}

/// Whether numbers within both this bound and the schema's own limits exist: a schema may demand larger ones than are exact.
fn leaves_room(keywords: &Map<String, Value>, bound: i64) -> bool {
    let limit = |keyword: &str| keywords.get(keyword).and_then(Value::as_f64);
    let bound = bound as f64;
    let lower = ["minimum", "exclusiveMinimum"].into_iter().filter_map(limit).all(|least| least < bound || bound < 0.0);
    let upper = ["maximum", "exclusiveMaximum"].into_iter().filter_map(limit).all(|most| most > bound || bound > 0.0);
    lower && upper
}

/// Whether the multiples of a number have too large an automaton.
fn is_too_fine(number: f64) -> bool {
    divisor(number) > LARGEST_DIVISOR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrowed(mut schema: Value) -> (Value, Vec<String>) {
        let left_out = narrow(schema.as_object_mut().unwrap());
        (schema, left_out)
    }

    #[test]
    fn limits_of_integers_beyond_64_bits_are_left_out_and_those_that_forbid_something_are_named() {
        let within = json!({"type": "integer", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER});
        let beyond = narrowed(json!({"type": "integer", "minimum": 1e30, "maximum": 2e30}));
        assert_eq!(beyond, (within.clone(), vec!["minimum 1e30".to_owned()]));
        assert_eq!(narrowed(json!({"type": "integer", "minimum": -1e30})), (within, vec![]));
    }

    #[test]
    fn multiples_of_large_numbers_are_left_out() {
        for fine in [json!(9_973), json!(0.01), json!(1e6), json!(0)] {
            assert_eq!(narrowed(json!({"multipleOf": fine})), (json!({"multipleOf": fine}), vec![]));
        }
        for large in [json!(99_991), json!(4_294_967_291u32), json!(1e-320)] {
            assert_eq!(narrowed(json!({"multipleOf": large})), (json!({}), vec![format!("multipleOf {large}")]));
        }
    }

    #[test]
    fn numbers_get_bounds_where_they_have_none() {
        let number = |schema: Value| narrowed(schema).0;
        let all = json!({"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER});
        assert_eq!(number(json!({"type": "number"})), all);
        let half = json!({"type": ["integer", "null"], "exclusiveMinimum": 0, "maximum": LARGEST_NUMBER});
        assert_eq!(number(json!({"type": ["integer", "null"], "exclusiveMinimum": 0})), half);
        assert_eq!(number(json!({"type": "integer", "enum": [1]})), json!({"type": "integer", "enum": [1]}));
        let huge = json!({"type": "number", "minimum": 1e17});
        assert_eq!(number(huge.clone()), huge);
        let low = json!({"type": "number", "exclusiveMaximum": -1e17});
        assert_eq!(number(low.clone()), low);
    }
}
