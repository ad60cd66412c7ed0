//! Any server that speaks OpenAI's chat completions, as a backend: LM Studio, OpenRouter, OpenAI, vLLM, llama.cpp, …
//!
//! Owns the HTTP client and the reading of SSE; what the fields mean is `convert`'s.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use async_stream::stream;
use eventsource_stream::Eventsource;
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

use super::http::{self, shorten};
use super::{Backend, BackendError, EventStream};
use crate::convert::{self, ChunkReader, Converted, Dialect, Omitted};
use crate::net::root_cause;
use crate::trace::redact::Redactor;
use crate::wire::openai::{ChatChunk, ChatError, ChatErrorBody, ChatRequest};
use crate::wire::{ErrorBody, ErrorKind, MessagesRequest, StreamEvent};

/// An OpenAI-compatible server behind a base URL.
pub struct OpenAiBackend {
    address: String,
    client: Client,
    headers: HeaderMap,
    model: Option<String>,
    dialect: Dialect,
    /// What was left out of requests and reported already.
    reported: Mutex<HashSet<String>>,
}

impl OpenAiBackend {
    /// A backend for the server at this base URL (`https://openrouter.ai/api/v1`; where it has no path, `/v1` is meant). Nobody is
    /// asked yet. Without a `model` the server is asked for the one that each request names.
    ///
    /// # Errors
    /// The base URL is no HTTP URL, or the key cannot be sent.
    pub fn new(base_url: &str, api_key: Option<&str>, model: Option<&str>, dialect: Dialect) -> Result<Self, BackendError> {
        let client = http::client(base_url)?;
        let address = with_path(base_url.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        if let Some(key) = api_key.filter(|key| !key.is_empty()) {
            let value = http::secret("Bearer ", key, "the API key");
            headers
                .insert(AUTHORIZATION, value.map_err(|reason| BackendError::Unreachable { address: address.clone(), reason })?);
        }
        let model = model.map(str::to_owned);
        Ok(Self { address, client, headers, model, dialect, reported: Mutex::default() })
    }

    /// The models that the server offers, in its order.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not answer with a list.
    pub async fn models(&self) -> Result<Vec<String>, BackendError> {
        let response = self.send(self.client.get(format!("{}/models", self.address))).await?;
        let list: Value = response.json().await.map_err(|error| self.not_chat(&root_cause(&error)))?;
        let models = list["data"].as_array().ok_or_else(|| self.not_chat("its list of models has no data"))?;
        Ok(models.iter().filter_map(|model| model["id"].as_str()).map(str::to_owned).collect())
    }

    /// The chat request. What it leaves out is logged the first time.
    fn convert(&self, request: &MessagesRequest) -> ChatRequest {
        let model = self.model.as_deref().unwrap_or(&request.model);
        let Converted { request, omitted } = convert::to_chat(request, model, self.dialect);
        self.report(&omitted);
        request
    }

    fn report(&self, omitted: &Omitted) {
        // The set is whole even if a thread died while it held the lock.
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = omitted.names().filter(|name| reported.insert((*name).to_owned())).collect();
        if !new.is_empty() {
            tracing::info!(fields = new.join(", "), backend = self.address, "left out: the chat protocol has no counterpart");
        }
    }

    /// Sends a request; an error status becomes the error that the server answered with.
    async fn send(&self, request: RequestBuilder) -> Result<Response, BackendError> {
        let response = request.headers(self.headers.clone()).send().await;
        let response =
            response.map_err(|error| BackendError::Unreachable { address: self.address.clone(), reason: root_cause(&error) })?;
        if response.status().is_success() { Ok(response) } else { Err(self.answered(response).await) }
    }

    async fn answered(&self, response: Response) -> BackendError {
        let status = response.status();
        let retry_after = http::retry_after(response.headers());
        let text = response.text().await.unwrap_or_default();
        let body = match error_in(&text) {
            Some(error) => convert::error_body(&error, Some(status.as_u16())),
            None => {
                let kind = convert::kind_of_status(status.as_u16());
                ErrorBody::new(kind, format!("{} answered {status}: {}", self.address, shorten(text.trim())))
            }
        };
        BackendError::Answered { status: status.as_u16(), body, retry_after }
    }

    fn not_chat(&self, reason: &str) -> BackendError {
        BackendError::new(ErrorKind::Api, not_chat(&self.address, reason))
    }

    async fn ask(&self, request: MessagesRequest) -> Result<EventStream, BackendError> {
        let reader = ChunkReader::new(&request);
        let url = format!("{}/chat/completions", self.address);
        let chat = self.convert(&request);
        let (sent, converted) = (request.messages.len(), chat.messages.len());
        tracing::debug!(
            backend = self.address,
            model = chat.model,
            tools = chat.tools.len(),
            "request converted: {sent} messages to {converted}"
        );
        tracing::trace!("chat request {}", redacted(&chat));
        let post = self.client.post(url).headers(http::cache_headers(&request)).json(&chat);
        let response = self.send(post).await?;
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
        if !content_type.starts_with("text/event-stream") {
            let content_type = content_type.to_owned();
            // LM Studio answers requests for paths that it does not know with status 200.
            let text = response.text().await.unwrap_or_default();
            let said = error_in(&text).map_or(content_type, |error| error.message);
            return Err(self.not_chat(&format!("asked for a stream, it answered with {}", shorten(&said))));
        }
        Ok(events(self.address.clone(), response, reader))
    }
}

impl Backend for OpenAiBackend {
    fn name(&self) -> String {
        self.address.clone()
    }

    fn model(&self) -> String {
        self.model.clone().unwrap_or_else(|| "as requested".into())
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(self.ask(request))
    }

    /// An estimate from the request's length: the chat protocol has no way to ask.
    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        let tokens = convert::estimated_tokens(&self.convert(&request));
        Box::pin(async move { Ok(tokens) })
    }
}

/// A request's body as logs may show it.
fn redacted(request: &ChatRequest) -> Value {
    // String-keyed maps, strings and numbers only: serializing them cannot fail.
    let mut body = serde_json::to_value(request).unwrap_or_default();
    Redactor::default().json(&mut body);
    body
}

/// Reads the answer's chunks. The events end with `message_stop`, or with an error.
fn events(address: String, response: Response, mut reader: ChunkReader) -> EventStream {
    Box::pin(stream! {
        let mut frames = response.bytes_stream().eventsource();
        loop {
            let (events, last) = match frames.next().await {
                None => (reader.cut_off(), true),
                Some(Ok(frame)) if frame.data.trim() == "[DONE]" => (reader.done(), true),
                Some(Ok(frame)) => match parse(&address, &frame.data) {
                    Ok(chunk) => (reader.push(chunk), false),
                    Err(reason) => (reader.fail(ErrorBody::new(ErrorKind::Api, reason)), true),
                },
                Some(Err(error)) => (reader.fail(ErrorBody::new(ErrorKind::Api, broken(&address, error))), true),
            };
            if last {
                report(&address, &reader);
            }
            for event in events {
                let event = outcome(event);
                let failed = event.is_err();
                yield event;
                if failed {
                    return;
                }
            }
            if last {
                return;
            }
        }
    })
}

/// Tells of an answer that has ended. Whoever reads it may stop at its last event.
fn report(address: &str, reader: &ChunkReader) {
    tracing::debug!(backend = address, finish_reason = reader.finish_reason(), "answer converted");
    if !reader.has_usage() {
        tracing::info!(backend = address, "the server does not say what its answer took: no tokens are counted");
    }
}

/// An error event is an error to whoever reads the stream.
fn outcome(event: StreamEvent) -> Result<StreamEvent, BackendError> {
    match event {
        StreamEvent::Error { body } => {
            let kind = ErrorKind::ALL.into_iter().find(|kind| kind.name() == body.error.kind).unwrap_or(ErrorKind::Api);
            Err(BackendError::Answered { status: kind.status(), body, retry_after: None })
        }
        event => Ok(event),
    }
}

/// One chunk. Errors that do not stand in a chunk's `error` are put there.
fn parse(address: &str, data: &str) -> Result<ChatChunk, String> {
    let unreadable =
        |error: serde_json::Error| not_chat(address, &format!("a chunk is not readable ({error}): {}", shorten(data)));
    let value: Value = serde_json::from_str(data).map_err(unreadable)?;
    if value["object"] == "error" {
        return Ok(ChatChunk { error: error_in(data), ..ChatChunk::default() });
    }
    serde_json::from_value(value).map_err(unreadable)
}

/// The error in an answer's text: under `error`, or the text's own `message` (vLLM) or `detail` (FastAPI).
fn error_in(text: &str) -> Option<ChatError> {
    if let Ok(body) = serde_json::from_str::<ChatErrorBody>(text) {
        return Some(body.error);
    }
    let error: ChatError = serde_json::from_str(text).ok()?;
    let detail = error.extra.get("detail").and_then(Value::as_str).map(str::to_owned);
    let message = if error.message.is_empty() { detail? } else { error.message.clone() };
    Some(ChatError { message, ..error })
}

fn broken(address: &str, error: eventsource_stream::EventStreamError<reqwest::Error>) -> String {
    match error {
        eventsource_stream::EventStreamError::Transport(error) => {
            format!("{address}: the connection broke: {}", root_cause(&error))
        }
        other => not_chat(address, &other.to_string()),
    }
}

fn not_chat(address: &str, reason: &str) -> String {
    format!("{address} does not speak the chat completions API: {reason}")
}

/// The base URL with `/v1` where it has no path.
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
    fn errors_are_found_wherever_they_stand() {
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
