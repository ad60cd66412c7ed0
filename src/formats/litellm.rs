//! What LiteLLM's callbacks write: its standard logging payloads, one or a list of them in each line.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chat_words::{self, stop_reason};
use super::http::{Headers, HttpAnswer, HttpExchange, Started, micros};
use super::import::ImportError;
use super::importer::{Found, Importer, Passed, Source};
use super::lines::for_each_line;

/// The importer.
pub(super) struct LiteLlm;

/// What LiteLLM logs of a call, as far as a trace has it.
#[derive(Deserialize)]
struct Payload {
    call_type: String,
    /// `success` or `failure`.
    status: String,
    model: String,
    /// Seconds since 1970.
    #[serde(rename = "startTime")]
    start: f64,
    #[serde(rename = "endTime")]
    end: f64,
    /// In the client's protocol, but for a Messages request's system prompt, which is the first of them.
    messages: Value,
    /// All other fields of the request.
    model_parameters: Map<String, Value>,
    /// A chat completion, whatever the client's protocol is.
    response: Value,
    error_information: Option<ErrorInformation>,
    user_agent: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct ErrorInformation {
    /// The status that the client got, as a text.
    error_code: Option<String>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    /// The client's headers that begin with `x-`, without credentials.
    requester_custom_headers: Option<Map<String, Value>>,
}

/// What stands in place of the texts where LiteLLM is told to log none.
const LEFT_OUT: &str = "redacted-by-litellm";

impl Importer for LiteLlm {
    fn name(&self) -> &'static str {
        "litellm"
    }

    fn title(&self) -> &'static str {
        "LiteLLM's logs"
    }

    fn lacks(&self) -> &'static str {
        "events and their times, most headers, how the answer's text and calls are ordered"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        let holds = |key: &[u8]| start.windows(key.len()).any(|bytes| bytes == key);
        matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
            && holds(b"\"call_type\"")
            && holds(b"\"custom_llm_provider\"")
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        for_each_line(reader, |number, line| {
            let payloads = match serde_json::from_slice(line) {
                // A callback posts many at once, or one.
                Ok(Value::Array(payloads)) => payloads,
                Ok(payload) => vec![payload],
                Err(error) => {
                    return found(Found::Passed(Passed { place: format!("line {number}"), reason: format!("no JSON: {error}") }));
                }
            };
            for (index, payload) in payloads.into_iter().enumerate() {
                let place = format!("line {number}, call {}", index + 1);
                found(match exchange(&place, payload) {
                    Ok((exchange, missing)) => with_missing(exchange.into_found(self, path), missing),
                    Err(reason) => Found::Passed(Passed { place, reason }),
                })?;
            }
            Ok(())
        })
    }
}

fn with_missing(mut found: Found, missing: Option<&str>) -> Found {
    if let Found::Exchange(exchange) = &mut found {
        exchange.missing.extend(missing.map(str::to_owned));
    }
    found
}

/// The exchange, and what of its answer is not known.
fn exchange(place: &str, payload: Value) -> Result<(HttpExchange, Option<&'static str>), String> {
    let payload: Payload = serde_json::from_value(payload).map_err(|error| format!("no payload of LiteLLM's: {error}"))?;
    let Payload { call_type, status, model, start, end, messages, mut model_parameters, response, .. } = payload;
    let is_messages = match call_type.as_str() {
        "anthropic_messages" => true,
        "completion" | "acompletion" => false,
        other => return Err(format!("a call of the kind {other}, whose request LiteLLM does not log as it was")),
    };
    if is_left_out(&messages) {
        return Err("LiteLLM was told to log no texts (turn_off_message_logging)".to_owned());
    }
    let mut body = Map::from_iter([("model".to_owned(), json!(model)), ("messages".to_owned(), messages)]);
    if is_messages {
        take_system(&mut body);
    }
    body.append(&mut model_parameters);
    let stops = body.get("stop_sequences").and_then(Value::as_array).is_some_and(|stops| !stops.is_empty());
    let (status, answer, missing) = if status == "success" {
        let is_known = !(is_messages && stops && response["choices"][0]["finish_reason"] == "stop");
        let answer = if is_messages { message(&response, is_known) } else { response };
        (Some(200), Some(answer), (!is_known).then_some("the reason why the answer ended, which may be a stop sequence"))
    } else {
        (payload.error_information.and_then(|error| error.error_code?.parse().ok()), None, None)
    };
    let answer = status.map(|status| HttpAnswer {
        status,
        headers: Vec::new(),
        body: answer.map(|answer| answer.to_string().into_bytes()),
        e2e_us: Some(micros(end - start)),
    });
    let exchange = HttpExchange {
        place: place.to_owned(),
        started: Started::at_seconds(start),
        method: "POST".to_owned(),
        url: if is_messages { "/v1/messages" } else { "/v1/chat/completions" }.to_owned(),
        headers: headers(payload.user_agent, payload.metadata),
        body: Some(Value::Object(body).to_string().into_bytes()),
        answer,
    };
    Ok((exchange, missing))
}

fn is_left_out(messages: &Value) -> bool {
    messages.as_array().is_none_or(|messages| messages.iter().any(|message| message["content"] == LEFT_OUT))
}

/// Puts the system prompt where the client had it.
fn take_system(body: &mut Map<String, Value>) {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    if let Some(messages) = messages.filter(|messages| messages.first().is_some_and(|first| first["role"] == "system")) {
        let system = messages.remove(0)["content"].take();
        body.insert("system".to_owned(), system);
    }
}

fn headers(user_agent: Option<String>, metadata: Metadata) -> Headers {
    let custom = metadata.requester_custom_headers.into_iter().flatten();
    let custom = custom.filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    user_agent.map(|agent| ("user-agent".to_owned(), agent)).into_iter().chain(custom).collect()
}

/// The message that LiteLLM has logged as a chat completion.
fn message(completion: &Value, is_reason_known: bool) -> Value {
    if completion["type"] == "message" {
        return completion.clone();
    }
    let choice = &completion["choices"][0];
    let mut content: Vec<Value> = choice["message"]["thinking_blocks"].as_array().cloned().unwrap_or_default();
    if let Some(text) = choice["message"]["content"].as_str().filter(|text| !text.is_empty()) {
        content.push(json!({"type": "text", "text": text}));
    }
    content.extend(choice["message"]["tool_calls"].as_array().into_iter().flatten().map(call));
    let reason = choice["finish_reason"].as_str().and_then(|reason| stop_reason(reason, !is_reason_known));
    json!({
        "id": completion["id"], "type": "message", "role": "assistant", "model": completion["model"], "content": content,
        "stop_reason": reason, "stop_sequence": null, "usage": usage(&completion["usage"]),
    })
}

fn call(call: &Value) -> Value {
    let arguments = &call["function"]["arguments"];
    // A call that was cut has arguments that are no JSON: they stay the text that they are.
    let input = arguments.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| arguments.clone());
    json!({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": input})
}

/// LiteLLM counts the tokens from the cache among the prompt's, Anthropic apart.
fn usage(usage: &Value) -> Value {
    let count = |field: &str| usage[field].as_u64().unwrap_or_default();
    let (read, written) = (count("cache_read_input_tokens"), count("cache_creation_input_tokens"));
    chat_words::usage(count("prompt_tokens"), read, written, count("completion_tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Value {
        json!({
            "call_type": "anthropic_messages", "status": "success", "model": "m", "startTime": 1.0, "endTime": 2.5,
            "messages": [{"role": "user", "content": "Hi"}], "model_parameters": {"max_tokens": 9, "stop_sequences": ["END"]},
            "response": {
                "id": "c", "model": "m", "choices": [{"finish_reason": "stop", "message": {"content": "Hello"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 2, "cache_read_input_tokens": 4},
            },
        })
    }

    #[test]
    fn why_an_answer_ended_is_not_guessed() {
        let answer = |payload| {
            let (exchange, missing) = exchange("line 1", payload).unwrap();
            let body: Value = serde_json::from_slice(&exchange.answer.unwrap().body.unwrap()).unwrap();
            (body, missing)
        };
        let (body, missing) = answer(payload());
        assert_eq!(body["stop_reason"], Value::Null);
        assert!(missing.is_some());
        assert_eq!((&body["usage"]["input_tokens"], &body["usage"]["cache_read_input_tokens"]), (&json!(6), &json!(4)));
        let mut without = payload();
        without["model_parameters"]["stop_sequences"] = json!([]);
        let (body, missing) = answer(without);
        assert_eq!((&body["stop_reason"], missing), (&json!("end_turn"), None));
    }

    #[test]
    fn a_call_without_its_texts_is_no_trace() {
        let mut payload = payload();
        payload["messages"][0]["content"] = json!(LEFT_OUT);
        assert!(exchange("line 1", payload).err().unwrap().contains("no texts"));
    }
}
