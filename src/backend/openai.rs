//! Any server that speaks OpenAI's chat completions, as a backend: LM Studio, OpenRouter, OpenAI, vLLM, llama.cpp and others.
//!
//! Sends the requests and reads the event stream. What the fields mean is decided in `convert`.

use std::sync::Arc;

use async_stream::stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::http::{self, shorten};
use super::learnt_models::LearntModels;
use super::model_limits::{ModelLimits, listed_limits};
use super::{Backend, BackendError, EventStream, Protocol, TimeLimits, WhyOmitted, say_omitted};
use crate::convert::{self, ChunkReader, Converted, Dialect};
use crate::net::bounds;
use crate::net::root_cause;
use crate::trace::redact::Redactor;
use crate::wire::openai::{ChatChunk, ChatError, ChatErrorBody, ChatRequest};
use crate::wire::{ErrorKind, MessagesRequest, StreamEvent, from_json};

/// An OpenAI-compatible server behind a base URL.
pub struct OpenAiBackend {
    /// The base URL.
    address: String,
    client: Client,
    headers: HeaderMap,
    /// The model to ask for; `None` for the one that each request names.
    model: Option<String>,
    dialect: Dialect,
    learnt: Arc<LearntModels>,
}

impl OpenAiBackend {
    /// A backend for the server at a base URL such as `https://openrouter.ai/api/v1`; without a path `/v1` is added. Without a
    /// `model` the server is asked for the model that each request names. Connects to nothing yet.
    ///
    /// # Errors
    /// The base URL is not an HTTP URL, or the key has characters that no header may have.
    pub fn new(base_url: &str, api_key: Option<&str>, model: Option<&str>, dialect: Dialect) -> Result<Self, BackendError> {
        Self::within(base_url, api_key, model, dialect, TimeLimits::default())
    }

    /// The same, with time limits of its own.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn within(
        base_url: &str,
        api_key: Option<&str>,
        model: Option<&str>,
        dialect: Dialect,
        limits: TimeLimits,
    ) -> Result<Self, BackendError> {
        let client = http::client(base_url, limits)?;
        let address = with_path(base_url.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        if let Some(key) = api_key.filter(|key| !key.is_empty()) {
            let value = http::secret("Bearer ", key, "the API key");
            headers.insert(AUTHORIZATION, value.map_err(|reason| BackendError::Unusable { address: address.clone(), reason })?);
        }
        let model = model.map(str::to_owned);
        Ok(Self { address, client, headers, model, dialect, learnt: Arc::default() })
    }

    /// The names of the server's models, in its order.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not answer with a list.
    pub async fn models(&self) -> Result<Vec<String>, BackendError> {
        let response = self.send(self.client.get(format!("{}/models", self.address))).await?;
        let list: Value = http::json_of(response).await.map_err(|reason| self.protocol_error(&reason))?;
        let models = list["data"].as_array().ok_or_else(|| self.protocol_error("its list of models has no data"))?;
        Ok(models.iter().filter_map(|model| model["id"].as_str()).map(str::to_owned).collect())
    }

    /// Converts a request, as far as its model's limits are known. The names of omitted fields are logged.
    fn convert(&self, request: &MessagesRequest) -> ChatRequest {
        let model = self.model.as_deref().unwrap_or(&request.model);
        let no_limit = request.max_tokens == MessagesRequest::AS_MANY_AS_FIT;
        let Converted { mut request, omitted } = convert::to_chat(request, model, self.dialect);
        if no_limit {
            (request.max_tokens, request.max_completion_tokens) = (None, None);
        }
        say_omitted(&omitted, WhyOmitted::NoCounterpart);
        if self.learnt.of(&request.model).refuses_pictures {
            convert::leave_out_pictures(&mut request);
        }
        request
    }

    /// Sends a request. An error status becomes the error in the response.
    async fn send(&self, request: RequestBuilder) -> Result<Response, BackendError> {
        let response = request.headers(self.headers.clone()).send().await;
        let response =
            response.map_err(|error| BackendError::Unreachable { address: self.address.clone(), reason: root_cause(&error) })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let read = |text: &str| error_in(text).map(|error| convert::error_body(&error, Some(status.as_u16())));
        Err(http::answered(&self.address, response, read).await)
    }

    fn protocol_error(&self, reason: &str) -> BackendError {
        protocol_error(&self.address, reason)
    }

    async fn ask(&self, request: MessagesRequest) -> Result<EventStream, BackendError> {
        if let Some(reason) = convert::forced_server_tool(&request) {
            return Err(BackendError::new(ErrorKind::InvalidRequest, reason));
        }
        let chat = self.convert(&request);
        let (sent, converted) = (request.messages.len(), chat.messages.len());
        tracing::debug!(
            backend = self.address,
            model = chat.model,
            tools = chat.tools.len(),
            "request converted: {sent} messages to {converted}"
        );
        tracing::trace!("chat request {}", redacted(&chat));
        let model = chat.model.clone();
        let mut reader = ChunkReader::new(&request);
        if self.learnt.of(&model).begins_in_thoughts {
            reader = reader.beginning_in_thoughts();
        }
        let response = self.post(chat, &http::request_headers(&request)).await?;
        if let Err(content_type) = http::require_event_stream(&response) {
            // LM Studio answers a request for an unknown path with status 200 and an error.
            let text = http::text_of(response).await;
            let answer = error_in(&text).map_or(content_type, |error| error.message);
            return Err(self.protocol_error(&format!("asked for a stream, it answered with {}", shorten(&answer))));
        }
        let asked = AskedModel { address: self.address.clone(), model, learnt: self.learnt.clone() };
        Ok(events(asked, response, reader))
    }

    /// Posts a chat request. If it is refused, perhaps because of its pictures, it is posted again without them: pictures stay
    /// in a conversation, so the error would end it.
    async fn post(&self, mut chat: ChatRequest, headers: &HeaderMap) -> Result<Response, BackendError> {
        let url = format!("{}/chat/completions", self.address);
        let post = |chat: &ChatRequest| self.send(self.client.post(&url).headers(headers.clone()).json(chat));
        let error = match post(&chat).await {
            Err(error) if may_refuse_pictures(&error) && convert::leave_out_pictures(&mut chat) => error,
            response => return response,
        };
        let Ok(response) = post(&chat).await else { return Err(error) };
        let (backend, model) = (self.address.as_str(), chat.model.as_str());
        // One picture may be broken; then others are shown.
        let is_lasting = refuses_all_pictures(&error);
        if is_lasting && self.learnt.learn(model, |traits| traits.refuses_pictures = true) {
            tracing::warn!(backend, model, "the server refuses pictures: from now on they are described to this model ({error})");
        } else if !is_lasting {
            tracing::warn!(backend, model, "the server refused a request with pictures and took it without them ({error})");
        }
        Ok(response)
    }
}

/// Whether an error may have been caused by a picture in the request: a refusal that has no other known cause.
fn may_refuse_pictures(error: &BackendError) -> bool {
    match error {
        BackendError::Answered { status: 400 | 404 | 415 | 422 | 500 | 501, body, .. } => !convert::is_too_long(body),
        _ => false,
    }
}

/// What servers write where a model can be shown no picture at all.
const NO_PICTURES: [&str; 6] = ["multimodal", "multi-modal", "modalit", "mmproj", "vision", "only 'text'"];

fn refuses_all_pictures(error: &BackendError) -> bool {
    let text = error.to_string().to_lowercase();
    // Of pictures in an unsupported format, others are taken.
    let supports_none = text.contains("support") && ["image", "picture"].iter().any(|word| text.contains(word));
    !text.contains("format") && (supports_none || NO_PICTURES.iter().any(|words| text.contains(words)))
}

impl Backend for OpenAiBackend {
    fn name(&self) -> String {
        http::shown(&self.address)
    }

    fn model(&self) -> String {
        self.model.clone().unwrap_or_else(|| "as requested".into())
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(self.ask(request))
    }

    /// An estimate from the request's length: the chat protocol cannot count tokens.
    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        let tokens = convert::estimated_tokens(&self.convert(&request));
        Box::pin(async move { Ok(tokens) })
    }

    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        Box::pin(async {
            let Some(model) = &self.model else { return ModelLimits::default() };
            listed_limits(&self.client, &self.headers, &format!("{}/models", self.address), model).await
        })
    }
}

/// A request's body without secrets, for the log.
fn redacted(request: &ChatRequest) -> Value {
    // Cannot fail: every field is a string, a number or a map with string keys.
    let mut body = serde_json::to_value(request).unwrap_or_default();
    Redactor::installed().json(&mut body);
    body
}

/// The model that an answer comes from.
struct AskedModel {
    address: String,
    model: String,
    learnt: Arc<LearntModels>,
}

impl AskedModel {
    /// Logs the end of an answer, and learns from it.
    fn answered(&self, reader: &ChunkReader) {
        let (backend, model) = (self.address.as_str(), self.model.as_str());
        tracing::debug!(backend, finish_reason = reader.finish_reason(), "answer converted");
        if !reader.has_usage() {
            tracing::info!(backend, "the server reported no usage: no tokens are counted");
        }
        if reader.ended_unbegun_thoughts() && self.learnt.learn(model, |traits| traits.begins_in_thoughts = true) {
            tracing::warn!(
                backend,
                model,
                "an answer ended thoughts that it had not begun, so they were passed on as text; the next answers are read as \
                 beginning in thoughts. Turn on the server's own parser of reasoning, if it has one"
            );
        }
    }
}

/// Reads the answer's chunks. The events end with `message_stop` or an error.
fn events(asked: AskedModel, response: Response, mut reader: ChunkReader) -> EventStream {
    EventStream::new(stream! {
        let mut frames = Box::pin(bounds::events(response));
        loop {
            let read = match frames.next().await {
                None => Ok((reader.cut_off(), true)),
                Some(Ok(frame)) if frame.data.trim() == "[DONE]" => Ok((reader.done(), true)),
                Some(Ok(frame)) => parse(&asked.address, &frame.data).map(|chunk| (reader.push(chunk), false)),
                Some(Err(error)) => Err(http::stream_error(Protocol::ChatCompletions, &asked.address, &error)),
            };
            let (events, is_last, failure) = match read {
                Ok((events, is_last)) => (events, is_last, None),
                Err(failure) => (reader.abort(), true, Some(failure)),
            };
            if is_last {
                // Before the last event: a caller may stop reading there.
                asked.answered(&reader);
            }
            for event in events {
                match event {
                    StreamEvent::Error { body } => {
                        yield Err(body.into());
                        return;
                    }
                    event => yield Ok(event),
                }
            }
            if let Some(failure) = failure {
                yield Err(failure);
            }
            if is_last {
                return;
            }
        }
    })
}

/// Parses one chunk. An error that is not in a chunk's `error` field is put there.
fn parse(address: &str, data: &str) -> Result<ChatChunk, BackendError> {
    let unreadable =
        |error: serde_json::Error| protocol_error(address, &format!("a chunk is not readable ({error}): {}", shorten(data)));
    let value: Value = from_json(data.as_bytes()).map_err(unreadable)?;
    if value["object"] == "error" {
        return Ok(ChatChunk { error: error_in(data), ..ChatChunk::default() });
    }
    serde_json::from_value(value).map_err(unreadable)
}

/// The error in a body: under `error`, or in the body's own `message` (vLLM) or `detail` (FastAPI).
fn error_in(text: &str) -> Option<ChatError> {
    if let Ok(body) = serde_json::from_str::<ChatErrorBody>(text) {
        return Some(body.error);
    }
    let error: ChatError = serde_json::from_str(text).ok()?;
    let detail = error.extra.get("detail").and_then(Value::as_str).map(str::to_owned);
    let message = if error.message.is_empty() { detail? } else { error.message.clone() };
    Some(ChatError { message, ..error })
}

fn protocol_error(address: &str, reason: &str) -> BackendError {
    BackendError::Protocol { protocol: Protocol::ChatCompletions, address: address.to_owned(), reason: reason.to_owned() }
}

/// Adds `/v1` to a base URL without a path.
fn with_path(base_url: &str) -> String {
    let rest = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    if rest.contains('/') { base_url.to_owned() } else { format!("{base_url}/v1") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_without_a_path_means_v1() {
        for (given, expected) in [
            ("http://localhost:1234", "http://localhost:1234/v1"),
            ("http://localhost:1234/", "http://localhost:1234/v1"),
            ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1"),
        ] {
            assert_eq!(OpenAiBackend::new(given, None, None, Dialect::Compatible).unwrap().address, expected);
        }
        let error = OpenAiBackend::new("localhost:1234", None, None, Dialect::LmStudio).err().unwrap();
        assert!(error.to_string().starts_with("localhost:1234: not a URL that starts with http://"), "{error}");
    }

    #[test]
    fn errors_are_found_wherever_servers_put_them() {
        for (text, expected) in [
            (r#"{"error":{"message":"a"}}"#, Some("a")),
            (r#"{"error":"b"}"#, Some("b")),
            (r#"{"object":"error","message":"c","code":400}"#, Some("c")),
            (r#"{"detail":"Not Found"}"#, Some("Not Found")),
            (r#"{}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(error_in(text).map(|error| error.message).as_deref(), expected, "{text}");
        }
    }
}
