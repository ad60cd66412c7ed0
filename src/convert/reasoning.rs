//! How much a model shall think, in the words of each dialect.

use serde_json::{Value, json};

use super::{Dialect, Omitted};
use crate::wire::MessagesRequest;
use crate::wire::openai::ChatRequest;

/// What a Messages request says about thinking.
#[derive(Clone, Debug, Default, PartialEq)]
struct Thinking {
    /// `adaptive`, `enabled` or `disabled`.
    mode: Option<String>,
    budget_tokens: Option<u64>,
    effort: Option<String>,
}

/// Sets the dialect's fields.
pub fn set(chat: &mut ChatRequest, request: &MessagesRequest, dialect: Dialect, omitted: &mut Omitted) {
    let thinking = Thinking::of(request);
    if thinking == Thinking::default() {
        return;
    }
    let level = thinking.level();
    match dialect {
        Dialect::OpenRouter => {
            chat.extra.extend(thinking.for_openrouter().map(|reasoning| ("reasoning".into(), reasoning)));
        }
        Dialect::LmStudio => chat.reasoning_effort = level.map(str::to_owned),
        // Its other models refuse the field.
        Dialect::OpenAi if reasons(&chat.model) => chat.reasoning_effort = level.map(str::to_owned),
        // Strict servers refuse what they do not know.
        Dialect::OpenAi | Dialect::Compatible => omitted.add("thinking"),
    }
}

/// Whether it is one of OpenAI's reasoning models: o1, o3, …, and gpt-5 and later.
fn reasons(model: &str) -> bool {
    let digit = |text: &str| text.chars().next().and_then(|first| first.to_digit(10));
    model.strip_prefix("gpt-").and_then(digit).is_some_and(|version| version >= 5)
        || model.strip_prefix('o').and_then(digit).is_some()
}

impl Thinking {
    fn of(request: &MessagesRequest) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let field = |object: &str, name: &str| request.extra.get(object)?.get(name);
        Self {
            mode: field("thinking", "type").and_then(text),
            budget_tokens: field("thinking", "budget_tokens").and_then(Value::as_u64),
            effort: field("output_config", "effort").and_then(text),
        }
    }

    fn is_off(&self) -> bool {
        self.mode.as_deref() == Some("disabled")
    }

    /// The three levels that every server with such a field knows; none where thinking is off or nothing is said of how much.
    fn level(&self) -> Option<&'static str> {
        if self.is_off() {
            return None;
        }
        match (self.effort.as_deref(), self.budget_tokens) {
            (Some("low" | "minimal"), _) => Some("low"),
            (Some("medium"), _) => Some("medium"),
            (Some(_), _) => Some("high"),
            (None, Some(0..=4_096)) => Some("low"),
            (None, Some(4_097..=16_384)) => Some("medium"),
            (None, Some(_)) => Some("high"),
            (None, None) => None,
        }
    }

    fn for_openrouter(&self) -> Option<Value> {
        if self.is_off() {
            return Some(json!({"enabled": false}));
        }
        if let Some(budget) = self.budget_tokens {
            return Some(json!({"max_tokens": budget}));
        }
        match self.level() {
            Some(level) => Some(json!({"effort": level})),
            None => self.mode.is_some().then(|| json!({"enabled": true})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::to_chat;
    use super::*;

    /// `reasoning_effort` and `reasoning` of the chat request, and what was left out.
    fn converted(thinking: &Value, effort: &Value, dialect: Dialect, model: &str) -> (Option<String>, Option<Value>, String) {
        let mut body = json!({"model": "claude-x", "messages": [], "max_tokens": 1});
        if !thinking.is_null() {
            body["thinking"] = thinking.clone();
        }
        if !effort.is_null() {
            body["output_config"] = json!({"effort": effort});
        }
        let converted = to_chat(&serde_json::from_value(body).unwrap(), model, dialect);
        let reasoning = converted.request.extra.get("reasoning").cloned();
        (converted.request.reasoning_effort, reasoning, converted.omitted.to_string())
    }

    #[test]
    fn each_dialect_is_told_in_its_own_words() {
        use Dialect::{Compatible, LmStudio, OpenAi, OpenRouter};
        let adaptive = json!({"type": "adaptive"});
        let budget = json!({"type": "enabled", "budget_tokens": 8_000});
        let off = json!({"type": "disabled"});
        let (none, high) = (Value::Null, json!("high"));
        for (thinking, effort, dialect, model, expected_effort, expected_reasoning, omitted) in [
            (&none, &none, OpenRouter, "m", None, None, ""),
            (&adaptive, &high, OpenRouter, "m", None, Some(json!({"effort": "high"})), ""),
            (&adaptive, &none, OpenRouter, "m", None, Some(json!({"enabled": true})), ""),
            (&budget, &none, OpenRouter, "m", None, Some(json!({"max_tokens": 8_000})), ""),
            (&off, &high, OpenRouter, "m", None, Some(json!({"enabled": false})), ""),
            (&adaptive, &high, LmStudio, "m", Some("high"), None, ""),
            (&budget, &none, LmStudio, "m", Some("medium"), None, ""),
            (&off, &none, LmStudio, "m", None, None, ""),
            (&adaptive, &json!("max"), OpenAi, "gpt-5.2", Some("high"), None, ""),
            (&adaptive, &json!("low"), OpenAi, "o4-mini", Some("low"), None, ""),
            (&adaptive, &high, OpenAi, "gpt-4.1", None, None, "thinking"),
            (&adaptive, &high, Compatible, "m", None, None, "thinking"),
        ] {
            let seen = converted(thinking, effort, dialect, model);
            assert_eq!(
                seen,
                (expected_effort.map(str::to_owned), expected_reasoning, omitted.to_owned()),
                "{dialect:?} {thinking} {effort}"
            );
        }
    }
}
