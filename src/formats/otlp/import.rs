//! Spans of calls of the Messages API, as a collector's file exporter and `anyclaude trace export` write them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Otlp;
use super::attributes::{Attribute, Attributes};
use super::content::{Said, answered, asked, instructions, tools};
use crate::formats::chat_words::{TokenCounts, stop_reason};
use crate::formats::http::micros;
use crate::formats::import_error::ImportError;
use crate::formats::importer::{Found, Importer, Passed, Source};
use crate::formats::lines::for_each_line;
use crate::formats::rebuilt::{Answered, RebuiltCall, RebuiltMessage};
use crate::trace::ExchangeOutcome;
use crate::wire::from_json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(default, borrow)]
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    /// One that cannot be read is no reason to lose the others.
    #[serde(default, borrow)]
    spans: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    /// Of all spans of one run of an application, or of this one alone.
    #[serde(default)]
    trace_id: String,
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
            let batch: Batch<'_> = match serde_json::from_slice(line) {
                Ok(batch) => batch,
                Err(error) => {
                    let reason = format!("no spans in OTLP/JSON: {error}");
                    return found(Found::Passed(Passed { place: format!("line {number}"), reason }));
                }
            };
            let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            for (index, span) in scopes.flat_map(|scope| scope.spans).enumerate() {
                found(match from_json::<Span>(span.get().as_bytes()) {
                    Ok(span) => one(self, path, number, span),
                    Err(error) => Found::Passed(Passed {
                        place: format!("line {number}, span {} of the line", index + 1),
                        reason: format!("no span in OTLP/JSON: {error}"),
                    }),
                })?;
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
    let request = match request(&attributes) {
        Ok(request) => request,
        Err(reason) => return refused(reason),
    };
    let Some(start) = times.0.filter(|start| *start > 0.0) else {
        return refused("the span does not say when it began".to_owned());
    };
    let answer = match failed {
        true => Answered::Failed(status(&attributes)),
        false => answer(&attributes, &request).map_or(Answered::Unknown, Answered::With),
    };
    let session = attributes.first(&["gen_ai.conversation.id", "session.id"]).and_then(Value::as_str);
    let call = RebuiltCall {
        place,
        session: session.or(Some(span.trace_id.as_str())).filter(|id| !id.is_empty()).map(str::to_owned),
        start,
        end: times.1,
        path: "/v1/messages",
        headers: Vec::new(),
        request,
        answer,
    };
    let mut found = call.into_found(importer, path);
    if let Found::Exchange(exchange) = &mut found {
        let first = attributes.get("gen_ai.response.time_to_first_chunk").and_then(Value::as_f64);
        exchange.trace.timing.ttft_us = first.and_then(micros);
        if let Some(outcome) = own_outcome(&attributes).filter(|_| failed) {
            exchange.trace.outcome = outcome;
        }
    }
    found
}

/// The status of an answer that failed, if the span has it.
fn status(attributes: &Attributes) -> Option<u16> {
    let status = attributes.count(&["http.response.status_code", "http.status_code"])?;
    u16::try_from(status).ok()
}

/// How the exchange ended, if the span is of `anyclaude trace export` and there was no error to name.
fn own_outcome(attributes: &Attributes) -> Option<ExchangeOutcome> {
    let outcome = ExchangeOutcome::deserialize(attributes.get("error.type")?).ok()?;
    (outcome != ExchangeOutcome::Complete).then_some(outcome)
}

fn nanos(value: &Value) -> Option<f64> {
    let nanos = value.as_str().map_or_else(|| value.as_u64(), |digits| digits.parse().ok())?;
    Some(nanos as f64 / 1e9)
}

/// The request's body, as far as the span has it.
///
/// # Errors
/// It is surely another one than was sent; why.
fn request(attributes: &Attributes) -> Result<Value, String> {
    let mut conversation = asked(attributes)?;
    if conversation.is_empty() {
        return Err("the span does not hold what was asked; have its content captured".to_owned());
    }
    let mut body = Map::new();
    let model = attributes.get("gen_ai.request.model").cloned();
    body.extend(model.map(|model| ("model".to_owned(), model)));
    for (field, names) in SETTINGS {
        body.extend(attributes.first(names).map(|value| (field.to_owned(), value.clone())));
    }
    let instructions = instructions(attributes)?;
    // The older convention has the system prompt as the first message; later ones are the conversation's own.
    let is_older = attributes.get("gen_ai.input.messages").is_none() && instructions.is_none();
    let system =
        (is_older && conversation.first().is_some_and(|first| first.role == "system")).then(|| conversation.remove(0).content);
    body.extend(system.or(instructions).map(|system| ("system".to_owned(), system)));
    let tools = tools(attributes)?;
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    body.insert("messages".to_owned(), turns(conversation));
    Ok(Value::Object(body))
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
fn answer(attributes: &Attributes, request: &Value) -> Option<Value> {
    let (content, reason) = answered(attributes)?;
    let listed = attributes.get("gen_ai.response.finish_reasons").and_then(|reasons| reasons[0].as_str().map(str::to_owned));
    let has_stops = request["stop_sequences"].as_array().is_some_and(|stops| !stops.is_empty());
    let word = reason.or(listed);
    let stop_reason = word.as_deref().and_then(|word| match word {
        "tool_call" => Some("tool_use"),
        "end_turn" | "max_tokens" | "tool_use" | "stop_sequence" | "refusal" | "pause_turn" => Some(word),
        _ => stop_reason(word, has_stops),
    });
    let message = RebuiltMessage {
        id: attributes.get("gen_ai.response.id"),
        model: attributes.first(&["gen_ai.response.model", "gen_ai.request.model"]),
        content,
        stop_reason,
        counts: token_counts(attributes),
    };
    Some(message.into_value())
}

fn token_counts(attributes: &Attributes) -> TokenCounts {
    TokenCounts {
        prompt: attributes.count(&["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"]),
        cache_read: attributes.count(&["gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"]),
        cache_written: attributes
            .count(&["gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"]),
        output: attributes.count(&["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"]),
    }
}
