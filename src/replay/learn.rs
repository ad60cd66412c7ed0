//! Which match rules would make a trace's repeats equal. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::snapshot::{Matching, Outcome, Rule, RuleText, ToolUse, WayName};

/// What is to be learnt from the outcomes of one trace or of several.
#[derive(Clone, Debug, Default)]
pub struct Learnt {
    /// For each tool and path, the strictest way under which its values are equal.
    ways: BTreeMap<(String, String), WayName>,
    /// Whether only the order of calls differs somewhere.
    unordered_calls: bool,
    /// How many outcomes differ in their calls, which no rule makes equal.
    beyond_rules: usize,
}

impl Learnt {
    /// Adds the outcomes of one trace, which are meant to be equal; they are equal under these rules as far as rules do it.
    pub fn add(&mut self, outcomes: &[&Outcome], matching: &Matching) {
        let Some((first, others)) = outcomes.split_first() else { return };
        for other in others.iter().filter(|other| !matching.equal(first, other)) {
            let unordered = Matching { unordered_calls: true, ..matching.clone() };
            if unordered.equal(first, other) {
                self.unordered_calls = true;
            } else if first.tool_names() != other.tool_names() || first.stop_reason != other.stop_reason {
                self.beyond_rules += 1;
            } else {
                for (one, other) in first.tool_use.iter().zip(&other.tool_use) {
                    let mut places = Vec::new();
                    places_that_differ(&one.input, &matching.covered(one, other).input, "$", &mut places);
                    places.into_iter().for_each(|path| self.learn(path, one, other));
                }
            }
        }
    }

    fn learn(&mut self, path: String, one: &ToolUse, other: &ToolUse) {
        let key = (one.name.clone(), path);
        // A way that was not enough for one trace is not enough for all.
        let from = self.ways.get(&key).copied();
        let ways = WayName::WITHOUT_PATTERN.into_iter().filter(|way| from.is_none_or(|from| *way >= from));
        let equals = |way: &WayName| {
            let matching = Matching { rules: rule(&key.0, &key.1, *way).into_iter().collect(), unordered_calls: false };
            let covered = matching.covered(one, other);
            let mut left = Vec::new();
            places_that_differ(&one.input, &covered.input, "$", &mut left);
            !left.contains(&key.1)
        };
        let way = ways.into_iter().find(equals).unwrap_or(WayName::Ignore);
        self.ways.insert(key, way);
    }

    /// How many outcomes no rule makes equal to the others of their trace.
    pub fn beyond_rules(&self) -> usize {
        self.beyond_rules
    }

    /// The rules.
    pub fn rules(&self) -> Vec<RuleText> {
        self.ways.iter().map(|((tool, path), way)| text(tool, path, *way)).collect()
    }

    /// Whether the order of calls must not count.
    pub fn unordered_calls(&self) -> bool {
        self.unordered_calls
    }
}

fn text(tool: &str, path: &str, way: WayName) -> RuleText {
    RuleText { tool: Some(tool.into()), path: path.into(), way, pattern: None, schema: None }
}

/// `None` where the tool's name has brackets, which a pattern of names reads in its own way.
fn rule(tool: &str, path: &str, way: WayName) -> Option<Rule> {
    Rule::try_from(text(tool, path, way)).ok()
}

/// The paths of the values that differ, with `*` in place of the numbers of items.
fn places_that_differ(one: &Value, other: &Value, path: &str, places: &mut Vec<String>) {
    match (one, other) {
        _ if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let path = format!("{path}{}", member(key));
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => places_that_differ(one, other, &path, places),
                    _ => places.push(path),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() && one.iter().any(Value::is_object) => {
            one.iter().zip(other).for_each(|(one, other)| places_that_differ(one, other, &format!("{path}[*]"), places));
        }
        _ => places.push(path.to_owned()),
    }
}

/// The part of a JSONPath that names a field.
fn member(key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_plain {
        true => format!(".{key}"),
        // A JSON string is a string of JSONPath.
        false => format!("[{}]", Value::from(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcomes(inputs: &[Value]) -> Vec<Outcome> {
        let call = |input: &Value| ToolUse { name: "Bash".into(), input: input.clone() };
        inputs.iter().map(|input| Outcome { stop_reason: None, tool_use: vec![call(input)] }).collect()
    }

    fn learnt(inputs: &[Value]) -> Vec<String> {
        let mut learnt = Learnt::default();
        learnt.add(&outcomes(inputs).iter().collect::<Vec<_>>(), &Matching::default());
        let rules: Vec<Rule> = learnt.rules().into_iter().map(|text| Rule::try_from(text).unwrap()).collect();
        let matching = Matching { rules, unordered_calls: learnt.unordered_calls() };
        let all = outcomes(inputs);
        assert!(all.iter().all(|outcome| matching.equal(&all[0], outcome)), "{inputs:?}");
        matching.rules.iter().map(Rule::to_string).collect()
    }

    #[test]
    fn the_strictest_rule_that_makes_the_values_equal_is_learnt() {
        assert_eq!(learnt(&[json!({"a": 1}), json!({"a": 1})]), [] as [&str; 0]);
        assert_eq!(learnt(&[json!({"a": "x "}), json!({"a": "x"})]), ["Bash, $.a as trim"]);
        assert_eq!(learnt(&[json!({"a": "x "}), json!({"a": "x"}), json!({"a": "y"})]), ["Bash, $.a as type"]);
        assert_eq!(learnt(&[json!({"a": "ls -l"}), json!({"a": "ls  -l"})]), ["Bash, $.a as words"]);
        assert_eq!(learnt(&[json!({"a": [1, 2]}), json!({"a": [2, 1]})]), ["Bash, $.a as set"]);
        assert_eq!(learnt(&[json!({"a": 1}), json!({"a": 1, "b-c": 2})]), [r#"Bash, $["b-c"] as ignore"#]);
        let todos = |text: &str| json!({"todos": [{"text": text, "id": 1}, {"text": "b", "id": 2}]});
        assert_eq!(learnt(&[todos("/a/b"), todos("/a//b")]), ["Bash, $.todos[*].text as path"]);
    }

    #[test]
    fn other_calls_are_beyond_rules_and_another_order_is_said() {
        let mut learnt = Learnt::default();
        let [one, other] = ["Bash", "Read"].map(|name| ToolUse { name: name.into(), input: json!({}) });
        let outcome =
            |calls: &[&ToolUse]| Outcome { stop_reason: None, tool_use: calls.iter().map(|call| (*call).clone()).collect() };
        learnt.add(&[&outcome(&[&one, &other]), &outcome(&[&other, &one]), &outcome(&[&one])], &Matching::default());
        assert_eq!((learnt.unordered_calls(), learnt.beyond_rules(), learnt.rules().len()), (true, 1, 0));
    }
}
