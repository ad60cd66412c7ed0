//! How sure the model was of a trace's accepted calls.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Acceptance, Driver, ReplayCase};
use crate::backend::JudgedAnswer;
use crate::snapshot::{Outcome, ToolUse};

/// How sure the model was of a trace's accepted calls, or why that is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Margins {
    /// The accepted answer, and how sure the model was of each call.
    Known(JudgedAnswer),
    /// They are not known.
    Missing {
        /// Why.
        missing: String,
    },
}

/// The accepted answers of an earlier replay, by the names of their traces.
pub type KnownAnswers = BTreeMap<String, JudgedAnswer>;

impl Margins {
    /// The judged answer, if it is known.
    pub fn known(&self) -> Option<&JudgedAnswer> {
        match self {
            Self::Known(answer) => Some(answer),
            Self::Missing { .. } => None,
        }
    }

    fn missing(why: impl Into<String>) -> Self {
        Self::Missing { missing: why.into() }
    }

    /// Asks the backend how sure it is of the accepted calls. If an earlier replay has the answer, that is taken as the model's.
    /// Otherwise the model answers once more, which says something only if `outcome` is accepted.
    pub(super) async fn of(
        driver: &Driver<'_>,
        case: &ReplayCase,
        acceptance: &Acceptance,
        known: &KnownAnswers,
        outcome: &Outcome,
    ) -> Self {
        let Some(judge) = driver.judge() else {
            return Self::missing("the backend gives no log-probabilities of calls");
        };
        let known = known.get(&case.id.to_string()).filter(|answer| acceptance.has_calls(&calls_of(answer)));
        if known.is_none() && acceptance.has_any() && !acceptance.accepts(outcome) {
            return Self::missing("the answer is not as accepted, and the baseline has no accepted one");
        }
        if known.is_none() && outcome.tool_use.is_empty() {
            return Self::missing("the answer calls no tool");
        }
        let judged = match judge.judge(case.request(None), known.map(|answer| answer.tokens.clone())).await {
            Ok(judged) => judged,
            Err(error) => return Self::missing(error.to_string()),
        };
        let calls = calls_of(&judged);
        // The tokens would tell what the report must not.
        let answer = Outcome { stop_reason: None, tool_use: calls.clone() };
        if answer.clone().redacted() != answer {
            return Self::missing("the calls hold a secret");
        }
        let is_what_was_asked = known.map_or(calls == outcome.tool_use, |known| calls == calls_of(known));
        match is_what_was_asked {
            true => Self::Known(judged),
            false => Self::missing("the model made other calls when it was asked once more"),
        }
    }
}

/// The calls of a judged answer. Arguments that are no JSON are the text that came, as in outcomes.
fn calls_of(answer: &JudgedAnswer) -> Vec<ToolUse> {
    let input = |text: &str| match text {
        "" => Value::Object(Default::default()),
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    answer.calls.iter().map(|call| ToolUse { name: call.tool.clone(), input: input(&call.input) }).collect()
}
