//! Spans of calls of the Messages API, as a collector's file exporter and `anyclaude trace export` write them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Otlp;
use super::attributes::{Attribute, Attributes};
use super::content::{Said, answered, asked, blocks, tools};
use crate::formats::chat_words::{self, stop_reason};
use crate::formats::http::{HttpAnswer, HttpExchange, Started, micros};
use crate::formats::import::ImportError;
use crate::formats::importer::{Found, ImportedExchange, Importer, Passed, Source};
use crate::formats::lines::for_each_line;
use crate::formats::session_name;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    span_id: String,
    /// Nanoseconds since 1970; 64-bit integers are strings.
    #[serde(default)]
    start_time_unix_nano: Value,
    #[serde(default)]
    end_time_unix_nano: Value,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    status: Value,
}

/// Settings of a request, under the names that they have had in spans.
const SETTINGS: [(&str, &[&str]); 6] = [
    ("max_tokens", &["gen_ai.request.max_tokens"]),
    ("temperature", &["gen_ai.request.temperature"]),
    ("top_p", &["gen_ai.request.top_p"]),
    ("top_k", &["gen_ai.request.top_k"]),
    ("stop_sequences", &["gen_ai.request.stop_sequences"]),
    ("stream", &["gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming"]),
];

impl Importer for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn title(&self) -> &'static str {
        "OpenTelemetry's spans of generative AI, OTLP/JSON"
    }

    fn lacks(&self) -> &'static str {
        "events and their times, headers, fields of requests and blocks without a convention"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        let key = b"\"resourceSpans\"";
        start.trim_ascii_start().starts_with(b"{") && start.windows(key.len()).any(|bytes| bytes == key)
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        for_each_line(reader, |number, line| {
            let batch: Batch = match serde_json::from_slice(line) {
                Ok(batch) => batch,
                Err(error) => {
                    let reason = format!("no spans in OTLP/JSON: {error}");
                    return found(Found::Passed(Passed { place: format!("line {number}"), reason }));
                }
            };
            let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                found(one(self, path, number, span))?;
            }
            Ok(())
        })
    }
}

fn one(importer: &Otlp, path: &std::path::Path, line: usize, span: Span) -> Found {
    let place = format!("line {line}, span {}", span.span_id);
    let times = (nanos(&span.start_time_unix_nano), nanos(&span.end_time_unix_nano));
    let failed = span.status["code"] == 2 || span.status["code"] == "STATUS_CODE_ERROR";
    let attributes = Attributes::new(span.attributes);
    let Some(provider) = attributes.first(&["gen_ai.provider.name", "gen_ai.system"]).and_then(Value::as_str) else {
        return Found::Unrelated;
    };
    if attributes.text("gen_ai.operation.name").is_some_and(|operation| operation != "chat") {
        return Found::Unrelated;
    }
    let refused = |reason: String| Found::Passed(Passed { place: place.clone(), reason });
    if !provider.eq_ignore_ascii_case("anthropic") {
        return refused(format!("a call of {}, whose request a span does not hold as it was", provider));
    }
    let (Some(start), Some(messages)) = (times.0, asked(&attributes)) else {
        return refused("the span does not hold what was asked, or when; have its content captured".to_owned());
    };
    let (body, mut missing) = request(&attributes, messages);
    let answer = if failed { None } else { answer(&attributes, &body, &mut missing) };
    let exchange = HttpExchange {
        place,
        started: Started::at_seconds(start),
        method: "POST".to_owned(),
        url: "/v1/messages".to_owned(),
        headers: Vec::new(),
        body: Some(body.to_string().into_bytes()),
        answer: answer.map(|answer| HttpAnswer {
            status: 200,
            headers: Vec::new(),
            body: Some(answer.to_string().into_bytes()),
            e2e_us: times.1.map(|end| micros(end - start)),
        }),
    };
    let mut found = exchange.into_found(importer, path);
    if let Found::Exchange(exchange) = &mut found {
        complete(exchange, &attributes, missing);
    }
    found
}

/// Adds what spans say and HTTP does not.
fn complete(exchange: &mut ImportedExchange, attributes: &Attributes, missing: Vec<&str>) {
    if let Some(session) = attributes.first(&["gen_ai.conversation.id", "session.id"]).and_then(Value::as_str) {
        exchange.trace.session = session_name(session);
    }
    let first = attributes.get("gen_ai.response.time_to_first_chunk").and_then(Value::as_f64);
    exchange.trace.timing.ttft_us = first.map(micros);
    exchange.missing.extend(missing.into_iter().map(str::to_owned));
}

fn nanos(value: &Value) -> Option<f64> {
    let nanos = value.as_str().map_or_else(|| value.as_u64(), |digits| digits.parse().ok())?;
    Some(nanos as f64 / 1e9)
}

/// The request's body, and what it lacks.
fn request(attributes: &Attributes, messages: Vec<Said>) -> (Value, Vec<&'static str>) {
    let mut body = Map::new();
    let model = attributes.get("gen_ai.request.model").cloned();
    body.extend(model.map(|model| ("model".to_owned(), model)));
    for (field, names) in SETTINGS {
        body.extend(attributes.first(names).map(|value| (field.to_owned(), value.clone())));
    }
    let instructions = attributes.structured("gen_ai.system_instructions");
    let mut conversation = messages;
    // The older convention has the system prompt as the first message; later ones are the conversation's own.
    let is_older = attributes.get("gen_ai.input.messages").is_none() && instructions.is_none();
    let system =
        (is_older && conversation.first().is_some_and(|first| first.role == "system")).then(|| conversation.remove(0).content);
    let system = system.or_else(|| Some(blocks(&instructions?)));
    body.extend(system.map(|system| ("system".to_owned(), system)));
    let tools = tools(attributes);
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    let missing = ["model", "max_tokens"].into_iter().filter(|field| !body.contains_key(*field)).collect();
    body.insert("messages".to_owned(), turns(conversation));
    (Value::Object(body), missing)
}

/// Messages of the roles that the Messages API has: what tools gave belongs to the user's turn.
fn turns(conversation: Vec<Said>) -> Value {
    let mut turns: Vec<Value> = Vec::new();
    let mut previous = String::new();
    for Said { role, content } in conversation {
        let of_one_turn = matches!((previous.as_str(), role.as_str()), ("tool", "tool" | "user") | ("user", "tool"));
        let last = turns.last_mut().and_then(|turn| turn["content"].as_array_mut());
        match (last, &content) {
            (Some(blocks), Value::Array(more)) if of_one_turn => blocks.extend(more.iter().cloned()),
            _ => turns.push(json!({"role": if role == "tool" { "user" } else { &role }, "content": content})),
        }
        previous = role;
    }
    Value::Array(turns)
}

/// The answer's message. Why it ended is taken only where the span's word has one meaning.
fn answer(attributes: &Attributes, request: &Value, missing: &mut Vec<&'static str>) -> Option<Value> {
    let (content, reason) = answered(attributes)?;
    let listed = attributes.get("gen_ai.response.finish_reasons").and_then(|reasons| reasons[0].as_str().map(str::to_owned));
    let has_stops = request["stop_sequences"].as_array().is_some_and(|stops| !stops.is_empty());
    let word = reason.or(listed);
    let reason = word.as_deref().and_then(|word| match word {
        "tool_call" => Some("tool_use"),
        "end_turn" | "max_tokens" | "tool_use" | "stop_sequence" | "refusal" | "pause_turn" => Some(word),
        _ => stop_reason(word, has_stops),
    });
    if reason.is_none() {
        missing.push("the reason why the answer ended");
    }
    Some(json!({
        "id": attributes.get("gen_ai.response.id"), "type": "message", "role": "assistant",
        "model": attributes.first(&["gen_ai.response.model", "gen_ai.request.model"]), "content": content,
        "stop_reason": reason, "stop_sequence": null, "usage": usage(attributes),
    }))
}

/// By the conventions the input's tokens include those from the cache; Anthropic counts these apart.
fn usage(attributes: &Attributes) -> Value {
    let count = |names: &[&str]| attributes.count(names);
    let read = count(&["gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"]).unwrap_or_default();
    let written =
        count(&["gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"]).unwrap_or_default();
    let input = count(&["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"]).unwrap_or_default();
    let output = count(&["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"]).unwrap_or_default();
    chat_words::usage(input, read, written, output)
}
