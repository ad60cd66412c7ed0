//! Which outcomes are equal, under match rules. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Outcome, Rule, ToolUse};

/// By what outcomes are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Matching {
    /// The rules, each applied to what those before it left.
    pub rules: Vec<Rule>,
    /// Whether the order of calls does not count.
    pub unordered_calls: bool,
}

impl Matching {
    /// Whether the outcomes are equal under these rules.
    pub fn equal(&self, one: &Outcome, other: &Outcome) -> bool {
        if one == other {
            return true;
        }
        let is_exact = self.rules.is_empty() && !self.unordered_calls;
        !is_exact && one.tool_use.len() == other.tool_use.len() && self.form(one) == self.form(other)
    }

    /// How many rules it takes to make equal outcomes equal, the order of calls included; 0 if they are the same.
    pub fn needed(&self, one: &Outcome, other: &Outcome) -> usize {
        let mut least = self.clone();
        let without_order = Self { unordered_calls: false, ..least.clone() };
        if without_order.equal(one, other) {
            least = without_order;
        }
        for at in (0..least.rules.len()).rev() {
            let mut fewer = least.clone();
            fewer.rules.remove(at);
            if fewer.equal(one, other) {
                least = fewer;
            }
        }
        least.rules.len() + usize::from(least.unordered_calls)
    }

    /// Whether two calls are equal under these rules.
    pub fn equal_calls(&self, one: &ToolUse, other: &ToolUse) -> bool {
        one == other || (one.name == other.name && self.form_of_call(one) == self.form_of_call(other))
    }

    /// The found call with accepted values wherever a rule takes them for equal: what still differs is a difference.
    pub fn covered(&self, accepted: &ToolUse, found: &ToolUse) -> ToolUse {
        if self.equal_calls(accepted, found) {
            return accepted.clone();
        }
        let mut covered = found.clone();
        if accepted.name == found.name {
            self.rules.iter().for_each(|rule| rule.cover(accepted, &mut covered));
        }
        covered
    }

    /// The one form of all outcomes that are equal to this one.
    fn form(&self, outcome: &Outcome) -> Outcome {
        let mut calls: Vec<ToolUse> = outcome.tool_use.iter().map(|call| self.form_of_call(call)).collect();
        if self.unordered_calls {
            calls.sort_by_cached_key(|call| {
                let mut input = call.input.clone();
                input.sort_all_objects();
                (call.name.clone(), input.to_string())
            });
        }
        Outcome { stop_reason: outcome.stop_reason.clone(), tool_use: calls }
    }

    fn form_of_call(&self, call: &ToolUse) -> ToolUse {
        let mut form = call.clone();
        self.rules.iter().for_each(|rule| rule.normalize(&mut form));
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn outcome(calls: &[(&str, Value)]) -> Outcome {
        let calls = calls.iter().map(|(name, input)| ToolUse { name: name.to_string(), input: input.clone() });
        Outcome { stop_reason: None, tool_use: calls.collect() }
    }

    fn matching(rules: Value) -> Matching {
        Matching { rules: serde_json::from_value(rules).unwrap(), unordered_calls: true }
    }

    #[test]
    fn outcomes_are_equal_if_the_rules_say_so_and_the_least_rules_are_counted() {
        let rules = matching(json!([
            {"tool": "Bash", "path": "$.command", "as": "words"},
            {"tool": "Bash", "path": "$.description", "as": "ignore"},
            {"path": "$.file_path", "as": "path"},
        ]));
        let read = |path: &str| ("Read", json!({"file_path": path}));
        let bash = |command: &str| ("Bash", json!({"command": command, "description": command.len()}));
        let accepted = outcome(&[read("/a/b"), bash("ls -l")]);
        let table = [
            (vec![read("/a/b"), bash("ls -l")], Some(0)),
            (vec![read("/a/./b"), bash("ls -l")], Some(1)),
            (vec![bash("ls -l"), read("/a/b")], Some(1)),
            (vec![bash("ls  '-l'"), read("/a//b")], Some(4)),
            (vec![read("/a/c"), bash("ls -l")], None),
            (vec![read("/a/b")], None),
        ];
        for (calls, needed) in table {
            let found = outcome(&calls);
            let equal = rules.equal(&accepted, &found);
            assert_eq!(equal.then(|| rules.needed(&accepted, &found)), needed, "{calls:?}");
        }
    }

    #[test]
    fn rules_build_on_each_other() {
        let rules = matching(json!([{"path": "$.files[*]", "as": "path"}, {"path": "$.files", "as": "set"}]));
        let [one, other] = [json!(["b", "./a"]), json!(["a", "b"])].map(|files| outcome(&[("T", json!({ "files": files }))]));
        assert!(rules.equal(&one, &other));
    }

    #[test]
    fn what_a_rule_covers_is_shown_as_accepted() {
        let rules = matching(json!([{"path": "$.a", "as": "trim"}, {"path": "$.b", "as": "ignore"}]));
        let call = |input: Value| ToolUse { name: "T".into(), input };
        let accepted = call(json!({"a": "x", "b": 1, "c": "y"}));
        let found = call(json!({"a": "x ", "c": "z"}));
        assert_eq!(rules.covered(&accepted, &found).input, json!({"a": "x", "b": 1, "c": "z"}));
        assert_eq!(rules.covered(&found, &accepted).input, json!({"a": "x ", "c": "y"}));
    }
}
