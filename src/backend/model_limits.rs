//! How long prompts and answers can be.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Response};
use serde_json::Value;

use super::http;
use crate::net::root_cause;

/// How many tokens a model takes and gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLimits {
    /// Most tokens of a prompt and its answer together; `None`: not known.
    pub context: Option<u64>,
    /// Most tokens of an answer; `None`: not known, or as many as the context leaves.
    pub output: Option<u64>,
}

impl ModelLimits {
    /// The limits of an answer that may come from either of two models.
    pub fn of_either(self, other: Self) -> Self {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self { context: least(self.context, other.context), output: least(self.output, other.output) }
    }
}

/// How long a server may take for its list of models. It answers requests all the same if that is not enough.
const PATIENCE: Duration = Duration::from_secs(5);

/// The fields in which servers list a model's context: OpenRouter, Together and anyclaude `context_length`, vLLM and SGLang
/// `max_model_len`, Groq `context_window`, Mistral `max_context_length`.
const CONTEXT_FIELDS: [&str; 4] = ["context_length", "max_model_len", "context_window", "max_context_length"];

/// The fields in which servers list the longest answer: Anthropic and anyclaude, Groq.
const OUTPUT_FIELDS: [&str; 2] = ["max_tokens", "max_completion_tokens"];

/// The limits of a model as the server's list of models at this URL has them. What it does not tell is not known.
pub(crate) async fn listed_limits(client: &Client, headers: &HeaderMap, url: &str, model: &str) -> ModelLimits {
    let asked = client.get(url).headers(headers.clone()).timeout(PATIENCE).send().await;
    let list = match asked.and_then(Response::error_for_status) {
        Ok(response) => http::json_of::<Value>(response).await,
        Err(error) => Err(root_cause(&error)),
    };
    match list {
        Ok(list) => list["data"].as_array().into_iter().flatten().find(|entry| entry["id"] == model).map_or_else(
            ModelLimits::default,
            |entry| ModelLimits { context: first_of(entry, &CONTEXT_FIELDS), output: first_of(entry, &OUTPUT_FIELDS) },
        ),
        Err(error) => {
            tracing::debug!("the context of {model} is not known: {error}");
            ModelLimits::default()
        }
    }
}

/// The first of these fields that is a number above 0.
fn first_of(entry: &Value, fields: &[&str]) -> Option<u64> {
    fields.iter().find_map(|field| entry[*field].as_u64().filter(|number| *number > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_either_of_two_models_are_the_smaller_ones() {
        let (small, large) = (ModelLimits { context: Some(8), output: None }, ModelLimits { context: Some(9), output: Some(4) });
        assert_eq!(small.of_either(large), ModelLimits { context: Some(8), output: Some(4) });
        assert_eq!(small.of_either(ModelLimits::default()), small);
    }
}
