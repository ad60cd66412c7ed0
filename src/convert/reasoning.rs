//! Converting how much the model is to think to the fields of each dialect.

use serde_json::{Value, json};

use super::{Dialect, Omitted};
use crate::wire::MessagesRequest;
use crate::wire::openai::ChatRequest;

/// The reasoning that a Messages request asks for.
#[derive(Clone, Debug, Default, PartialEq)]
struct RequestedThinking {
    /// `adaptive`, `enabled` or `disabled`.
    mode: Option<String>,
    budget_tokens: Option<u64>,
    effort: Option<String>,
}

/// Sets the dialect's fields in `chat`. Where it has none, `omitted` gets the name.
pub(crate) fn set(chat: &mut ChatRequest, request: &MessagesRequest, dialect: Dialect, omitted: &mut Omitted) {
    let thinking = RequestedThinking::of(request);
    if thinking == RequestedThinking::default() {
        return;
    }
    let level = thinking.level();
    match dialect {
        Dialect::OpenRouter => {
            chat.extra.extend(thinking.for_openrouter().map(|reasoning| ("reasoning".into(), reasoning)));
        }
        Dialect::LmStudio => chat.reasoning_effort = level.map(str::to_owned),
        // OpenAI's other models refuse the field.
        Dialect::OpenAi if is_reasoning_model(&chat.model) => chat.reasoning_effort = level.map(str::to_owned),
        // Strict servers refuse fields that they do not know.
        Dialect::OpenAi | Dialect::Compatible => omitted.add("thinking"),
    }
}

/// Whether this is one of OpenAI's reasoning models: o1, o3 and so on, or gpt-5 and later.
fn is_reasoning_model(model: &str) -> bool {
    let digit = |text: &str| text.chars().next().and_then(|first| first.to_digit(10));
    model.strip_prefix("gpt-").and_then(digit).is_some_and(|version| version >= 5)
        || model.strip_prefix('o').and_then(digit).is_some()
}

impl RequestedThinking {
    fn of(request: &MessagesRequest) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let field = |object: &str, name: &str| request.extra.get(object)?.get(name);
        Self {
            mode: field("thinking", "type").and_then(text),
            budget_tokens: field("thinking", "budget_tokens").and_then(Value::as_u64),
            effort: request.effort().map(str::to_owned),
        }
    }

    fn is_off(&self) -> bool {
        self.mode.as_deref() == Some("disabled")
    }

    /// One of the three effort levels that every dialect knows. `None` if thinking is off, or if the request sets no amount.
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

    /// The chat request's `reasoning_effort` and `reasoning`, and what was left out.
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
    fn each_dialect_gets_its_own_fields() {
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
