//! OTLP/JSON: a span for each exchange, by OpenTelemetry's conventions for generative AI, which are still in development.

mod attributes;
mod content;
mod import;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::trace::{ExchangeOutcome, Trace, asks_for_message, came_at};
use crate::wire::Usage;

/// The importer and exporter.
pub(super) struct Otlp;

/// What `kind` and `status.code` of a span are in numbers.
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

impl Exporter for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn title(&self) -> &'static str {
        "OTLP/JSON spans, a request to a collector's /v1/traces in each line"
    }

    fn frame(&self) -> Frame {
        Frame::LINES
    }

    fn leaves_out(&self) -> &'static str {
        "ask for no answer of a model"
    }

    fn begin<'a>(&'a self, _: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        Box::new(line)
    }
}

fn line(trace: &Trace) -> Option<Value> {
    if !asks_for_message(trace) {
        return None;
    }
    let resource = json!({"attributes": [attribute("service.name", &json!("claude-code"))]});
    let scope = json!({"name": "anyclaude", "version": env!("CARGO_PKG_VERSION")});
    Some(json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span(trace)?]}]}]}))
}

/// The span of an exchange; `None` if its time is none.
fn span(trace: &Trace) -> Option<Value> {
    let start = came_at(trace)?.unix_timestamp_nanos();
    let took_us = trace.timing.e2e_us.or(trace.response.events.last().map(|event| event.at_us)).unwrap_or_default();
    let model = trace.request.body["model"].as_str().unwrap_or_default();
    let failed = trace.outcome != ExchangeOutcome::Complete;
    Some(json!({
        "traceId": hex(&trace.session, 16),
        "spanId": hex(&format!("{}/{}", trace.session, trace.seq), 8),
        "name": format!("chat {model}"),
        "kind": CLIENT,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + i128::from(took_us) * 1_000).to_string(),
        "attributes": attributes(trace),
        "status": if failed { json!({"code": ERROR}) } else { json!({}) },
    }))
}

/// The first bytes of a text's SHA-256, so that exporting twice gives the same spans.
fn hex(text: &str, bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(trace: &Trace) -> Vec<Value> {
    let (request, answer) = (&trace.request.body, &trace.response.body);
    let usage = &answer["usage"];
    let host = trace.request.headers.get("host").and_then(Value::as_str);
    let (address, port) = host.map_or((None, None), |host| match host.rsplit_once(':') {
        Some((address, port)) => (Some(address), port.parse::<u16>().ok()),
        None => (Some(host), None),
    });
    let pairs = [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("anthropic")),
        ("gen_ai.conversation.id", json!(trace.session)),
        ("gen_ai.request.model", request["model"].clone()),
        ("gen_ai.request.max_tokens", request["max_tokens"].clone()),
        ("gen_ai.request.temperature", request["temperature"].clone()),
        ("gen_ai.request.top_p", request["top_p"].clone()),
        ("gen_ai.request.top_k", request["top_k"].clone()),
        ("gen_ai.request.stop_sequences", request["stop_sequences"].clone()),
        ("gen_ai.request.stream", request["stream"].clone()),
        ("gen_ai.response.id", answer["id"].clone()),
        ("gen_ai.response.model", answer["model"].clone()),
        ("gen_ai.response.finish_reasons", finish_reason(answer).map_or(Value::Null, |reason| json!([reason]))),
        ("gen_ai.response.time_to_first_chunk", json!(trace.timing.ttft_us.map(|us| us as f64 / 1e6))),
        ("gen_ai.usage.input_tokens", json!(prompt_tokens(usage))),
        ("gen_ai.usage.output_tokens", usage["output_tokens"].clone()),
        ("gen_ai.usage.cache_read.input_tokens", usage["cache_read_input_tokens"].clone()),
        ("gen_ai.usage.cache_creation.input_tokens", usage["cache_creation_input_tokens"].clone()),
        ("gen_ai.system_instructions", spelled(parts(&request["system"]))),
        ("gen_ai.input.messages", spelled(input_messages(request))),
        ("gen_ai.output.messages", spelled(output_messages(answer))),
        ("gen_ai.tool.definitions", spelled(tools(request))),
        ("server.address", json!(address)),
        ("server.port", json!(port)),
        ("error.type", error_type(trace)),
    ];
    pairs.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| attribute(name, value)).collect()
}

/// All tokens of the prompt, as the conventions want it, if they were counted: Anthropic counts those from the cache apart.
fn prompt_tokens(usage: &Value) -> Option<u64> {
    let counted = usage["input_tokens"].is_u64().then(|| Usage::deserialize(usage).ok()).flatten();
    counted.map(|usage| usage.prompt_tokens())
}

fn error_type(trace: &Trace) -> Value {
    let outcome = || serde_json::to_value(trace.outcome).unwrap_or_default();
    match &trace.response.body["error"]["type"] {
        kind @ Value::String(_) => kind.clone(),
        _ if trace.outcome == ExchangeOutcome::Complete => Value::Null,
        _ => outcome(),
    }
}

fn finish_reason(answer: &Value) -> Option<&'static str> {
    Some(match answer["stop_reason"].as_str()? {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_call",
        "refusal" => "content_filter",
        _ => "stop",
    })
}

/// The messages of a request. The results of tools are messages of their own.
fn input_messages(request: &Value) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for message in request["messages"].as_array().into_iter().flatten() {
        let mut run: Option<(String, Vec<Value>)> = None;
        for part in parts(&message["content"]) {
            let is_result = part["type"] == "tool_call_response";
            let role = if is_result { "tool" } else { message["role"].as_str().unwrap_or_default() };
            match &mut run {
                Some((of, parts)) if of == role => parts.push(part),
                _ => messages.extend(run.replace((role.to_owned(), vec![part])).map(message_of)),
            }
        }
        messages.extend(run.map(message_of));
    }
    messages
}

fn message_of((role, parts): (String, Vec<Value>)) -> Value {
    json!({"role": role, "parts": parts})
}

fn output_messages(answer: &Value) -> Vec<Value> {
    let reason = finish_reason(answer).unwrap_or("error");
    let content = answer["content"].is_array().then(|| parts(&answer["content"]));
    content.map(|parts| json!({"role": "assistant", "parts": parts, "finish_reason": reason})).into_iter().collect()
}

/// A message's content, or a system prompt, in the conventions' parts. Kinds that these do not know keep their own form.
fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![json!({"type": "text", "content": text})],
        Value::Array(blocks) => blocks.iter().map(part).collect(),
        _ => Vec::new(),
    }
}

fn part(block: &Value) -> Value {
    match block["type"].as_str().unwrap_or_default() {
        "text" => json!({"type": "text", "content": block["text"]}),
        "thinking" => json!({"type": "reasoning", "content": block["thinking"]}),
        "tool_use" => json!({"type": "tool_call", "id": block["id"], "name": block["name"], "arguments": block["input"]}),
        "tool_result" => json!({"type": "tool_call_response", "id": block["tool_use_id"], "response": block["content"]}),
        "image" if block["source"]["type"] == "base64" => {
            let source = &block["source"];
            json!({"type": "blob", "mime_type": source["media_type"], "modality": "image", "content": source["data"]})
        }
        _ => block.clone(),
    }
}

fn tools(request: &Value) -> Vec<Value> {
    let tools = request["tools"].as_array().into_iter().flatten();
    tools
        .map(|tool| {
            json!({"type": "function", "name": tool["name"], "description": tool["description"], "parameters": tool["input_schema"]})
        })
        .collect()
}

/// A list as the text of its JSON, which is what a span's attribute may hold; null if it is empty.
fn spelled(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { Value::Array(list).to_string().into() }
}

fn attribute(name: &str, value: &Value) -> Value {
    json!({"key": name, "value": any_value(value)})
}

/// A value in OTLP's JSON: an object whose one field names the type. 64-bit integers are strings there.
fn any_value(value: &Value) -> Value {
    let (kind, value) = match value {
        Value::Bool(_) => ("boolValue", value.clone()),
        Value::Number(number) if number.is_f64() => ("doubleValue", value.clone()),
        Value::Number(number) => ("intValue", number.to_string().into()),
        Value::Array(items) => ("arrayValue", json!({"values": items.iter().map(any_value).collect::<Vec<_>>()})),
        Value::String(_) => ("stringValue", value.clone()),
        other => ("stringValue", other.to_string().into()),
    };
    Value::Object(Map::from_iter([(kind.to_owned(), value)]))
}
