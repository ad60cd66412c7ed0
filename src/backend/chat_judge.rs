//! Asking a server elsewhere how sure its model is of an answer: most servers of local models answer chat completions beside the
//! Messages API, and there they give log-probabilities.

use futures::future::BoxFuture;
use reqwest::Client;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::chat_margins::judged;
use super::{BackendError, JudgeAnswers, JudgedAnswer, Protocol, http};
use crate::convert::{self, Dialect};
use crate::net::root_cause;
use crate::wire::{ErrorKind, MessagesRequest};

/// How many likely tokens to ask for in each place: as many as every server gives.
const TOP: u32 = 5;

/// A server's chat completions.
pub(super) struct ChatJudge {
    /// The base URL.
    address: String,
    client: Client,
    headers: HeaderMap,
}

impl ChatJudge {
    pub(super) fn new(address: String, client: Client, headers: HeaderMap) -> Self {
        Self { address, client, headers }
    }

    /// Whether the server answers a short question with log-probabilities.
    pub(super) async fn has_log_probabilities(&self, model: &str) -> bool {
        let question = json!({"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        let answer = self.complete(question).await;
        answer.is_ok_and(|answer| answer.pointer("/choices/0/logprobs/content/0").is_some())
    }

    /// The completion of a chat request, whole, with log-probabilities.
    async fn complete(&self, mut body: Value) -> Result<Value, BackendError> {
        if let Some(fields) = body.as_object_mut() {
            fields.remove("stream_options");
            fields.extend([
                ("stream".to_owned(), json!(false)),
                ("temperature".into(), json!(0)),
                ("logprobs".into(), json!(true)),
                ("top_logprobs".into(), json!(TOP)),
            ]);
        }
        let base = self.address.trim_end_matches("/v1");
        let request = self.client.post(format!("{base}/v1/chat/completions")).headers(self.headers.clone()).json(&body);
        let unreachable =
            |error: reqwest::Error| BackendError::Unreachable { address: self.address.clone(), reason: root_cause(&error) };
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(http::answered(&self.address, response, |text| serde_json::from_str(text).ok()).await);
        }
        http::json_of(response).await.map_err(|reason| BackendError::Protocol {
            protocol: Protocol::ChatCompletions,
            address: self.address.clone(),
            reason,
        })
    }
}

impl JudgeAnswers for ChatJudge {
    /// A chat request cannot be given its answer, so the model answers once more. The caller finds out whether it is the answer that
    /// was meant.
    fn judge(&self, request: MessagesRequest, _answer: Option<Vec<u32>>) -> BoxFuture<'_, Result<JudgedAnswer, BackendError>> {
        Box::pin(async move {
            let chat = convert::to_chat(&request, &request.model, Dialect::of_url(&self.address)).request;
            // Cannot fail: every field is a string, a number or a map with string keys.
            let completion = self.complete(serde_json::to_value(chat).unwrap_or_default()).await?;
            judged(&completion).map_err(|reason| BackendError::new(ErrorKind::Api, reason))
        })
    }
}
