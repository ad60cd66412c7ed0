//! Any server that speaks the Anthropic Messages API, as a backend.
//!
//! Sends the requests and reads the event stream. If the server is anyclaude's own, its prefix cache can be controlled too.

use async_stream::try_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::chat_judge::ChatJudge;
use super::http::{self, shorten};
use super::model_limits::listed_limits;
use super::{
    Backend, BackendError, CacheAccess, CacheControl, ENGINE_SIGNATURE, EventStream, JudgeAnswers, ModelLimits, Protocol,
    TimeLimits,
};
use crate::net::bounds;
use crate::net::root_cause;
use crate::wire::{
    COUNT_TOKENS_PATH, Content, ContentBlock, ENGINE_FIELDS, MESSAGES_PATH, MODELS_PATH, MessagesRequest, StreamEvent, from_json,
};

/// Upper bound on generated tokens where the client sets none: Anthropic asks for one, and every model takes this.
const TAKEN_BY_EVERY_MODEL: u32 = 8_192;

/// Fields of `POST /v1/messages` that `POST /v1/messages/count_tokens` refuses.
const NOT_COUNTED: [&str; 7] = ["max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata"];

/// The variables with the user's credentials, and where each is sent: the header, and what stands before it there.
const CREDENTIALS: [(&str, &str, &str); 2] =
    [("ANTHROPIC_API_KEY", "x-api-key", ""), ("ANTHROPIC_AUTH_TOKEN", "authorization", "Bearer ")];

/// An Anthropic-compatible server behind a base URL.
pub struct RemoteBackend {
    /// The base URL.
    address: String,
    client: Client,
    headers: HeaderMap,
    /// The health of an anyclaude server; `None` for any other server.
    anyclaude: Option<Health>,
    /// Asks for log-probabilities, if the server has them.
    judge: Option<ChatJudge>,
}

/// The part of an anyclaude server's `GET /health` that matters here.
#[derive(Deserialize)]
struct Health {
    server: String,
    model: String,
    #[serde(default)]
    prefix_cache: CacheAccess,
}

impl RemoteBackend {
    /// A backend for the server at a base URL. Sends the credentials that Claude Code itself would send: `ANTHROPIC_API_KEY` and
    /// `ANTHROPIC_AUTH_TOKEN` from the environment. Asks once (`GET /health`) whether it is an anyclaude server.
    ///
    /// # Errors
    /// The base URL is not an HTTP URL, a credential cannot be sent, or no server answers.
    pub async fn new(base_url: &str) -> Result<Self, BackendError> {
        Self::within(base_url, TimeLimits::default()).await
    }

    /// The same, with time limits of its own.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub async fn within(base_url: &str, limits: TimeLimits) -> Result<Self, BackendError> {
        let client = http::client(base_url, limits)?;
        let address = base_url.trim_end_matches('/').to_owned();
        if address.ends_with("/v1") {
            let reason = "a base URL of the Messages API ends before /v1, with which the paths of its requests begin".to_owned();
            return Err(BackendError::Unusable { address, reason });
        }
        let headers = headers_from_env().map_err(|reason| BackendError::Unusable { address: address.clone(), reason })?;
        let health = client.get(format!("{address}/health")).headers(headers.clone()).send().await;
        let unreachable = |error| BackendError::Unreachable { address: address.clone(), reason: root_cause(&error) };
        let health = http::json_of::<Health>(health.map_err(unreachable)?).await;
        let anyclaude = health.ok().filter(|health| health.server == "anyclaude");
        Ok(Self { address, client, headers, anyclaude, judge: None })
    }

    /// What of the user's own a backend for this base URL sends with every request, in words; `None` if nothing.
    pub fn credentials_sent_to(base_url: &str) -> Option<&'static str> {
        let in_url = Url::parse(base_url).is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
        let in_environment = CREDENTIALS.iter().map(|(variable, ..)| *variable).find(|variable| set(variable).is_some());
        in_environment.or(in_url.then_some("the credentials in its URL"))
    }

    /// Sends these names as `anthropic-beta`. Anthropic accepts some fields of a recorded body only with them.
    pub fn with_betas(mut self, betas: HeaderValue) -> Self {
        self.headers.insert("anthropic-beta", betas);
        self
    }

    /// Finds out whether the server also answers chat completions, with log-probabilities: those tell how sure this model is of its
    /// calls.
    pub async fn with_log_probabilities(self, model: &str) -> Self {
        let judge = ChatJudge::new(self.address.clone(), self.client.clone(), self.headers.clone());
        Self { judge: judge.has_log_probabilities(model).await.then_some(judge), ..self }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Posts a body. An error status becomes the error in the response.
    async fn post(&self, path: &str, more: HeaderMap, body: &Value) -> Result<Response, BackendError> {
        let request = self.client.post(self.url(path)).headers(self.headers.clone()).headers(more).json(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(http::answered(&self.address, response, |text| serde_json::from_str(text).ok()).await)
    }

    fn unreachable(&self, error: &reqwest::Error) -> BackendError {
        BackendError::Unreachable { address: self.address.clone(), reason: root_cause(error) }
    }

    fn protocol_error(&self, reason: impl Into<String>) -> BackendError {
        protocol_error(&self.address, reason)
    }

    /// The request's body as this server accepts it.
    fn body(&self, mut request: MessagesRequest) -> Value {
        request.stream = true;
        if self.anyclaude.is_none() {
            if request.max_tokens == MessagesRequest::AS_MANY_AS_FIT {
                request.max_tokens = TAKEN_BY_EVERY_MODEL;
            }
            drop_foreign_thinking(&mut request);
            drop_engine_fields(&mut request.extra);
            // Anthropic refuses 0. Without the field there is no limit, which is what 0 asks for.
            request.top_k = request.top_k.filter(|k| *k > 0);
        }
        // Cannot fail: every field is a string, a number or a map with string keys.
        let mut body = serde_json::to_value(request).unwrap_or_default();
        drop_absent_schemas(&mut body);
        body
    }

    async fn send(&self, request: MessagesRequest) -> Result<EventStream, BackendError> {
        let headers = http::request_headers(&request);
        let response = self.post(MESSAGES_PATH, headers, &self.body(request)).await?;
        if let Err(content_type) = http::require_event_stream(&response) {
            return Err(self.protocol_error(format!("asked for a stream, it answered with {content_type}")));
        }
        Ok(events(self.address.clone(), response))
    }

    async fn count(&self, request: MessagesRequest) -> Result<u64, BackendError> {
        let via = http::via_header(&request);
        let mut body = self.body(request);
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|name, _| !NOT_COUNTED.contains(&name.as_str()));
        }
        let response = self.post(COUNT_TOKENS_PATH, via, &body).await?;
        let answer: Value = http::json_of(response).await.map_err(|reason| self.protocol_error(reason))?;
        answer["input_tokens"].as_u64().ok_or_else(|| self.protocol_error("count_tokens gave no input_tokens"))
    }
}

/// Removes the empty schemas that [`Tool`](crate::wire::Tool) adds to tools which Anthropic runs itself: Anthropic refuses them.
fn drop_absent_schemas(body: &mut Value) {
    let tools = body.get_mut("tools").and_then(Value::as_array_mut);
    for tool in tools.into_iter().flatten().filter_map(Value::as_object_mut) {
        let runs_at_anthropic = tool.get("type").is_some_and(|kind| kind != "custom");
        if runs_at_anthropic && tool.get("input_schema") == Some(&Value::Object(Map::new())) {
            tool.shift_remove("input_schema");
        }
    }
}

/// Removes the fields of chat requests that only the engine reads: Anthropic refuses them.
fn drop_engine_fields(extra: &mut Map<String, Value>) {
    for name in ENGINE_FIELDS {
        extra.shift_remove(name);
    }
    let format = extra.get_mut("output_config").and_then(|config| config.get_mut("format"));
    if let Some(format) = format.and_then(Value::as_object_mut) {
        format.shift_remove("strict");
    }
}

/// Removes thinking that Anthropic did not sign, because Anthropic refuses it. It comes from other models that answered earlier
/// in the conversation: without a signature from chat servers, with our own from the engine.
fn drop_foreign_thinking(request: &mut MessagesRequest) {
    let foreign = |block: &ContentBlock| match block {
        ContentBlock::Thinking { signature, .. } => signature.is_empty() || signature == ENGINE_SIGNATURE,
        _ => false,
    };
    request.messages.retain_mut(|message| match &mut message.content {
        Content::Blocks(blocks) if blocks.iter().any(foreign) => {
            blocks.retain(|block| !foreign(block));
            !blocks.is_empty()
        }
        _ => true,
    });
}

/// Reads the answer's events. They end with `message_stop` or an error.
fn events(address: String, response: Response) -> EventStream {
    EventStream::new(try_stream! {
        let mut frames = Box::pin(bounds::events(response));
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(|error| http::stream_error(Protocol::Messages, &address, &error))?;
            let event = parse(&address, &frame.data)?;
            let last = event == StreamEvent::MessageStop;
            yield event;
            if last {
                return;
            }
        }
        Err(protocol_error(&address, "the stream ended without message_stop"))?;
    })
}

/// Parses one event. The server's own error event becomes an error.
fn parse(address: &str, data: &str) -> Result<StreamEvent, BackendError> {
    match from_json(data.as_bytes()) {
        Ok(StreamEvent::Error { body }) => Err(body.into()),
        Ok(event) => Ok(event),
        Err(error) => Err(protocol_error(address, format!("an event is not JSON ({error}): {}", shorten(data)))),
    }
}

fn protocol_error(address: &str, reason: impl Into<String>) -> BackendError {
    BackendError::Protocol { protocol: Protocol::Messages, address: address.to_owned(), reason: reason.into() }
}

impl Backend for RemoteBackend {
    fn name(&self) -> String {
        http::shown(&self.address)
    }

    /// The model of an anyclaude server; another server may have many.
    fn model(&self) -> String {
        self.anyclaude.as_ref().map_or("as requested".into(), |health| health.model.clone())
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(self.send(request))
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(self.count(request))
    }

    fn limits(&self) -> BoxFuture<'_, ModelLimits> {
        Box::pin(async {
            let Some(health) = &self.anyclaude else { return ModelLimits::default() };
            listed_limits(&self.client, &self.headers, &self.url(MODELS_PATH), &health.model).await
        })
    }

    fn judge(&self) -> Option<&dyn JudgeAnswers> {
        self.judge.as_ref().map(|judge| judge as _)
    }

    fn cache(&self) -> Option<&dyn CacheControl> {
        (self.cache_access() == CacheAccess::Controlled).then_some(self as _)
    }

    fn cache_access(&self) -> CacheAccess {
        self.anyclaude.as_ref().map_or(CacheAccess::Hidden, |health| health.prefix_cache)
    }
}

impl CacheControl for RemoteBackend {
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { self.post("/cache/clear", HeaderMap::new(), &Value::Null).await.map(drop) })
    }

    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { self.post("/cache/keep-only", HeaderMap::new(), &self.body(request)).await.map(drop) })
    }
}

/// An environment variable, unless it is empty.
fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn headers_from_env() -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    for (variable, header, scheme) in CREDENTIALS {
        let Some(secret) = set(variable) else { continue };
        let value = http::secret(scheme, &secret, variable)?;
        headers.insert(HeaderName::from_static(header), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_base_url_must_be_http() {
        for (url, reason) in [
            ("127.0.0.1:8081", "127.0.0.1:8081: not a URL (relative URL without a base): it should start with http://"),
            ("ftp://example.org", "ftp://example.org: not a URL that starts with http:// or https://"),
            ("http://example.org/v1/", "http://example.org/v1: a base URL of the Messages API ends before /v1"),
        ] {
            let error = RemoteBackend::new(url).await.err().unwrap().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }

    #[test]
    fn thinking_of_other_models_does_not_reach_anthropic() {
        let thinking = |signature: &str| serde_json::json!({"type": "thinking", "thinking": "Hm.", "signature": signature});
        let text = serde_json::json!({"type": "text", "text": "Ho."});
        let messages = |contents: &[Value]| -> Value {
            contents.iter().map(|content| serde_json::json!({"role": "assistant", "content": content})).collect()
        };
        let given = messages(&[
            serde_json::json!([thinking(""), text]),
            serde_json::json!([thinking("")]),
            serde_json::json!([thinking(ENGINE_SIGNATURE), text]),
            serde_json::json!([thinking("signed"), text]),
            serde_json::json!("plain"),
        ]);
        let request = serde_json::json!({"model": "m", "max_tokens": 1, "messages": given});
        let mut request: MessagesRequest = serde_json::from_value(request).unwrap();
        drop_foreign_thinking(&mut request);
        let kept = [
            serde_json::json!([text]),
            serde_json::json!([text]),
            serde_json::json!([thinking("signed"), text]),
            serde_json::json!("plain"),
        ];
        assert_eq!(serde_json::to_value(&request.messages).unwrap(), messages(&kept));
    }

    #[test]
    fn what_only_the_engine_reads_does_not_reach_anthropic() {
        let format = json!({"type": "json_schema", "schema": {"type": "object"}});
        let mut asked = format.clone();
        asked["strict"] = json!(true);
        let fields = json!({"seed": 7, "min_p": 0.1, "presence_penalty": 1, "metadata": {}, "output_config": {"effort": "low", "format": asked}});
        let mut fields = fields.as_object().unwrap().clone();
        drop_engine_fields(&mut fields);
        assert_eq!(Value::Object(fields), json!({"metadata": {}, "output_config": {"effort": "low", "format": format}}));
    }

    #[test]
    fn a_tool_that_anthropic_runs_has_no_schema() {
        let tools =
            serde_json::json!([{"type": "web_search_20250305", "name": "web_search"}, {"name": "Now", "input_schema": {}}]);
        let request = serde_json::json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools});
        let request: MessagesRequest = serde_json::from_value(request).unwrap();
        let mut body = serde_json::to_value(request).unwrap();
        drop_absent_schemas(&mut body);
        let has_schema = |tool: &Value| tool.get("input_schema").is_some();
        assert_eq!(body["tools"].as_array().unwrap().iter().map(has_schema).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn an_unknown_event_is_passed_on_and_a_broken_one_is_an_error() {
        assert_eq!(parse("a", r#"{"type":"future"}"#).unwrap().name(), "future");
        let error = parse("http://a", "<html>").unwrap_err().to_string();
        assert!(error.starts_with("http://a does not speak the Messages API: an event is not JSON"), "{error}");
    }

    #[test]
    fn an_error_event_is_an_error_with_its_status() {
        let event = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
        let error = parse("a", event).unwrap_err();
        assert!(matches!(&error, BackendError::Answered { status: 529, .. }), "{error}");
    }
}
