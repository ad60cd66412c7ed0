//! How near an answer to a request that forces no tool comes to the recorded one. Pure.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::align::align;
use crate::snapshot::{Outcome, ToolUse};
use crate::wire::Tool;

/// What the right tool counts in a call's score. The arguments count the rest.
const TOOL_SHARE: f64 = 0.5;
/// What an argument counts that has another value of the right type.
const TYPE_SHARE: f64 = 0.5;

/// How near an answer to a request that forces no tool comes to the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FreeFidelity {
    /// From 0 to 1: the mean score of the calls; 1 if neither answer has any.
    pub score: f64,
    /// Each recorded call beside the one that came in its place.
    pub calls: Vec<CallFidelity>,
}

/// A recorded call beside the one that came in its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct CallFidelity {
    /// The recorded call's tool; `None` for a call more than recorded.
    pub recorded: Option<String>,
    /// The tool that was called; `None` if no call came.
    pub found: Option<String>,
    /// How many arguments the calls have, counted once; 0 unless both call one tool.
    pub arguments: usize,
    /// How many of them have values of one type.
    pub same_type: usize,
    /// How many of them have one value.
    pub same_value: usize,
    /// Whether the tool's schema allows the arguments that came; `None` if no call came, or of an unknown tool.
    pub is_valid: Option<bool>,
}

impl FreeFidelity {
    /// Compares an answer with the recorded one. `tools` are those of the request.
    pub fn of(found: &Outcome, recorded: &Outcome, tools: &[Tool]) -> Self {
        let pairs = align(&recorded.tool_use, &found.tool_use);
        let call = |(old, new): (Option<usize>, Option<usize>)| {
            CallFidelity::of(old.map(|at| &recorded.tool_use[at]), new.map(|at| &found.tool_use[at]), tools)
        };
        let calls: Vec<_> = pairs.into_iter().map(call).collect();
        let score = match calls.len() {
            0 => 1.0,
            n => calls.iter().map(CallFidelity::score).sum::<f64>() / n as f64,
        };
        Self { score, calls }
    }

    /// Whether calls are recorded and text came.
    pub fn is_text_instead_of_call(&self) -> bool {
        !self.calls.is_empty() && self.calls.iter().all(|call| call.found.is_none())
    }

    /// Whether text is recorded and calls came.
    pub fn is_call_instead_of_text(&self) -> bool {
        !self.calls.is_empty() && self.calls.iter().all(|call| call.recorded.is_none())
    }
}

impl CallFidelity {
    fn of(recorded: Option<&ToolUse>, found: Option<&ToolUse>, tools: &[Tool]) -> Self {
        let name = |call: Option<&ToolUse>| call.map(|call| call.name.clone());
        let is_valid = found.and_then(|call| is_valid(call, tools));
        let call = Self { recorded: name(recorded), found: name(found), is_valid, ..Self::default() };
        match recorded.zip(found).filter(|(recorded, found)| recorded.name == found.name) {
            Some((recorded, found)) => call.with_arguments(&recorded.input, &found.input),
            None => call,
        }
    }

    /// Arguments that are no object are one argument.
    fn with_arguments(self, recorded: &Value, found: &Value) -> Self {
        let fields = |value: &Value| match value {
            Value::Object(fields) => fields.clone(),
            other => Map::from_iter([(String::new(), other.clone())]),
        };
        let (recorded, found) = (fields(recorded), fields(found));
        let both = || recorded.iter().filter_map(|(name, value)| Some((value, found.get(name)?)));
        Self {
            arguments: recorded.len() + found.keys().filter(|name| !recorded.contains_key(*name)).count(),
            same_type: both().filter(|(one, other)| std::mem::discriminant(*one) == std::mem::discriminant(*other)).count(),
            same_value: both().filter(|(one, other)| one == other).count(),
            ..self
        }
    }

    /// Whether the recorded tool was called.
    pub fn is_same_tool(&self) -> bool {
        self.recorded.is_some() && self.recorded == self.found
    }

    /// From 0 to 1: half for the tool, and half for its arguments, of which one with another value of the right type counts half.
    pub fn score(&self) -> f64 {
        if !self.is_same_tool() {
            return 0.0;
        }
        let right = self.same_value as f64 + TYPE_SHARE * (self.same_type - self.same_value) as f64;
        let arguments = if self.arguments == 0 { 1.0 } else { right / self.arguments as f64 };
        TOOL_SHARE + (1.0 - TOOL_SHARE) * arguments
    }
}

/// A schema that is none allows nothing to be said.
fn is_valid(call: &ToolUse, tools: &[Tool]) -> Option<bool> {
    let tool = tools.iter().find(|tool| tool.name == call.name)?;
    let schema = jsonschema::validator_for(&tool.input_schema).ok()?;
    Some(schema.is_valid(&call.input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(calls: &[(&str, Value)]) -> Outcome {
        let calls = calls.iter().map(|(name, input)| ToolUse { name: name.to_string(), input: input.clone() });
        Outcome { stop_reason: None, tool_use: calls.collect() }
    }

    fn tools() -> Vec<Tool> {
        let schema = json!({"type": "object", "required": ["file_path"], "properties": {"limit": {"type": "integer"}}});
        serde_json::from_value(json!([{"name": "Read", "input_schema": schema}])).unwrap()
    }

    #[test]
    fn a_score_is_half_the_tool_and_half_the_arguments() {
        let read = |input: Value| ("Read", input);
        let recorded = [read(json!({"file_path": "a", "limit": 5}))];
        let table: [(&[_], f64, _); 7] = [
            (&recorded, 1.0, Some(true)),
            // A value of the right type.
            (&[read(json!({"file_path": "b", "limit": 5}))], 0.875, Some(true)),
            // One of another type.
            (&[read(json!({"file_path": "a", "limit": "5"}))], 0.75, Some(false)),
            // One lost, one new.
            (&[read(json!({"file_path": "a", "offset": 1}))], 0.5 + 0.5 / 3.0, Some(true)),
            (&[read(json!("{\"file_path"))], 0.5, Some(false)),
            (&[("Bash", json!({"command": "cat a"}))], 0.0, None),
            (&[], 0.0, None),
        ];
        for (found, score, is_valid) in table {
            let fidelity = FreeFidelity::of(&outcome(found), &outcome(&recorded), &tools());
            assert!((fidelity.score - score).abs() < 1e-9, "{fidelity:?}");
            assert_eq!(fidelity.calls[0].is_valid, is_valid, "{found:?}");
        }
    }

    #[test]
    fn number_and_order_of_calls_count() {
        let reads = |files: &str| {
            let reads: Vec<_> = files.split_whitespace().map(|file| ("Read", json!({"file_path": file}))).collect();
            outcome(&reads)
        };
        let fidelity = |found: &str, recorded: &str| FreeFidelity::of(&reads(found), &reads(recorded), &tools());
        for (found, recorded, score) in [("", "", 1.0), ("a", "a b", 0.5), ("a b", "a", 0.5), ("b a", "a b", 0.75)] {
            assert_eq!(fidelity(found, recorded).score, score, "{found} / {recorded}");
        }
        let text = fidelity("", "a");
        assert_eq!((text.is_text_instead_of_call(), text.is_call_instead_of_text()), (true, false));
        let call = fidelity("a", "");
        assert_eq!((call.is_text_instead_of_call(), call.is_call_instead_of_text()), (false, true));
    }
}
