//! What LiteLLM's callbacks write: its standard logging payloads, one or a list of them in each line.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::chat_words::{TokenCounts, stop_reason};
use super::http::{Headers, pairs_of};
use super::import_error::ImportError;
use super::importer::{Found, Importer, Passed, Source};
use super::lines::for_each_line;
use super::rebuilt::{Answered, RebuiltCall, RebuiltMessage};
use crate::trace::spelled_arguments;
use crate::wire::from_json;

/// The importer.
pub(super) struct LiteLlm;

/// What LiteLLM logs of a call, as far as a trace has it.
#[derive(Deserialize)]
struct Payload {
    call_type: String,
    /// `success` or `failure`.
    status: String,
    model: String,
    /// The client's name of its session; empty if it has said none.
    session_id: Option<String>,
    /// The same where there is no `session_id`; if the client has said none, it is that of a request and its repeats.
    trace_id: Option<String>,
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
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct ErrorInformation {
    /// The status that the client got, as a text.
    error_code: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    /// The client's headers that begin with `x-`, without credentials.
    requester_custom_headers: Option<Map<String, Value>>,
}

/// What stands in place of the texts where LiteLLM is told to log none.
const LEFT_OUT: &str = "redacted-by-litellm";

/// What stands where LiteLLM has cut a text, or taken a picture's data out; a number follows.
const CUTS: [&str; 3] = ["(litellm_truncated ", "(litellm_truncated skipped ", "[base64_data truncated: "];

/// What a text ends in that LiteLLM has cut for a logger that takes no long ones.
const CUT_END: &str = "...truncated by litellm, this logger does not support large content";

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
        let holds = |key: &str| memmem::find(start, key.as_bytes()).is_some();
        matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
            && holds("\"call_type\"")
            && holds("\"custom_llm_provider\"")
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        for_each_line(reader, |number, line| {
            let payloads = match payloads(line) {
                Ok(payloads) => payloads,
                Err(error) => {
                    return found(Found::Passed(Passed { place: format!("line {number}"), reason: format!("no JSON: {error}") }));
                }
            };
            for (index, payload) in payloads.into_iter().enumerate() {
                let place = format!("line {number}, call {}", index + 1);
                found(match call(&place, payload) {
                    Ok(call) => call.into_found(self, path),
                    Err(reason) => Found::Passed(Passed { place, reason }),
                })?;
            }
            Ok(())
        })
    }
}

/// A callback posts many payloads at once, or one.
fn payloads(line: &[u8]) -> serde_json::Result<Vec<&RawValue>> {
    if line.starts_with(b"[") { serde_json::from_slice(line) } else { serde_json::from_slice(line).map(|payload| vec![payload]) }
}

fn call(place: &str, payload: &RawValue) -> Result<RebuiltCall, String> {
    let payload = from_json::<Payload>(payload.get().as_bytes()).map_err(|error| format!("no payload of LiteLLM's: {error}"))?;
    let Payload {
        call_type,
        status,
        model,
        session_id,
        trace_id,
        start,
        end,
        messages,
        mut model_parameters,
        response,
        error_information,
        user_agent,
        metadata,
    } = payload;
    let is_messages = match call_type.as_str() {
        "anthropic_messages" => true,
        "completion" | "acompletion" => false,
        other => return Err(format!("a call of the kind {other}, whose request LiteLLM does not log as it was")),
    };
    let is_cut = |value: &Value| holds_text(value, &is_cut_text);
    if is_cut(&messages) || model_parameters.values().any(is_cut) {
        return Err("LiteLLM has cut a text of it, or left a picture out".to_owned());
    }
    let Some(list) = messages.as_array() else { return Err("`messages` is no list".to_owned()) };
    if list.iter().any(|message| message["content"] == LEFT_OUT) {
        return Err("LiteLLM was told to log no texts (turn_off_message_logging)".to_owned());
    }
    let mut request = Map::from_iter([("model".to_owned(), json!(model)), ("messages".to_owned(), messages)]);
    if is_messages {
        take_system(&mut request);
    }
    request.append(&mut model_parameters);
    let answer = if status != "success" {
        Answered::Failed(error_information.and_then(|error| error.error_code?.parse().ok()))
    } else if !is_answer(&response) || is_cut(&response) || holds_text(&response, &|text| text == LEFT_OUT) {
        Answered::Unknown
    } else if is_messages {
        let has_stops = request.get("stop_sequences").and_then(Value::as_array).is_some_and(|stops| !stops.is_empty());
        Answered::With(message(response, has_stops))
    } else {
        Answered::With(response)
    };
    Ok(RebuiltCall {
        place: place.to_owned(),
        session: [session_id, trace_id].into_iter().flatten().find(|id| !id.is_empty()),
        start,
        end: Some(end),
        path: if is_messages { "/v1/messages" } else { "/v1/chat/completions" },
        headers: headers(user_agent, metadata),
        request: Value::Object(request),
        answer,
    })
}

/// Whether this is a chat completion or a message. Null and other words stand there too.
fn is_answer(response: &Value) -> bool {
    response["choices"][0].is_object() || response["type"] == "message"
}

/// Whether there is such a text in a value.
fn holds_text(value: &Value, is_such: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_such(text),
        Value::Array(items) => items.iter().any(|item| holds_text(item, is_such)),
        Value::Object(fields) => fields.values().any(|field| holds_text(field, is_such)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text is not all there.
fn is_cut_text(text: &str) -> bool {
    text.ends_with(CUT_END) || CUTS.into_iter().any(|cut| holds_counted(text.as_bytes(), cut))
}

/// Whether a text has this with a number behind it. A program that writes such marks has none there.
fn holds_counted(text: &[u8], mark: &str) -> bool {
    memmem::find_iter(text, mark).any(|at| text.get(at + mark.len()).is_some_and(u8::is_ascii_digit))
}

/// Puts the system prompt where the client had it.
fn take_system(body: &mut Map<String, Value>) {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut);
    if let Some(messages) = messages.filter(|messages| messages.first().is_some_and(|first| first["role"] == "system")) {
        let system = messages.remove(0)["content"].take();
        body.insert("system".to_owned(), system);
    }
}

fn headers(user_agent: Option<String>, metadata: Option<Metadata>) -> Headers {
    let custom = pairs_of(metadata.and_then(|metadata| metadata.requester_custom_headers).unwrap_or_default());
    user_agent.map(|agent| ("user-agent".to_owned(), agent)).into_iter().chain(custom).collect()
}

/// The message that LiteLLM has logged as a chat completion. `has_stops`: one of the request's stop sequences may have ended it,
/// which a completion does not tell from the end of a turn.
fn message(completion: Value, has_stops: bool) -> Value {
    if completion["type"] == "message" {
        return completion;
    }
    let choice = &completion["choices"][0];
    let mut content: Vec<Value> = choice["message"]["thinking_blocks"].as_array().cloned().unwrap_or_default();
    match &choice["message"]["content"] {
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => content.push(json!({"type": "text", "text": text})),
        Value::Array(blocks) => content.extend(blocks.iter().cloned()),
        // What makes the answer none that can be read.
        other => content.push(other.clone()),
    }
    content.extend(choice["message"]["tool_calls"].as_array().into_iter().flatten().map(tool_use));
    let stop_reason = choice["finish_reason"].as_str().and_then(|reason| stop_reason(reason, has_stops));
    let known = |field: &str| completion.get(field).filter(|value| !value.is_null());
    let counts = token_counts(&completion["usage"]);
    RebuiltMessage { id: known("id"), model: known("model"), content: Value::Array(content), stop_reason, counts }.into_value()
}

fn tool_use(call: &Value) -> Value {
    let arguments = &call["function"]["arguments"];
    let input = arguments.as_str().map_or_else(|| arguments.clone(), spelled_arguments);
    json!({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": input})
}

fn token_counts(usage: &Value) -> TokenCounts {
    let count = |field: &str| usage[field].as_u64();
    TokenCounts {
        prompt: count("prompt_tokens"),
        cache_read: count("cache_read_input_tokens"),
        cache_written: count("cache_creation_input_tokens"),
        output: count("completion_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> Value {
        json!({
            "call_type": "anthropic_messages", "status": "success", "model": "m", "startTime": 1.0, "endTime": 2.5,
            "session_id": "", "trace_id": "one request",
            "messages": [{"role": "user", "content": "Hi"}], "model_parameters": {"max_tokens": 9, "stop_sequences": ["END"]},
            "response": {
                "id": "c", "model": "m", "choices": [{"finish_reason": "stop", "message": {"content": "Hello"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 2, "cache_read_input_tokens": 4},
            },
        })
    }

    /// The call of a payload that is changed like this.
    fn read(change: impl FnOnce(&mut Value)) -> Result<RebuiltCall, String> {
        let mut payload = payload();
        change(&mut payload);
        call("line 1", &serde_json::value::to_raw_value(&payload).unwrap())
    }

    #[test]
    fn why_an_answer_ended_is_not_guessed() {
        let message = |change: fn(&mut Value)| match read(change).unwrap().answer {
            Answered::With(message) => message,
            _ => Value::Null,
        };
        let answer = message(|_| {});
        assert_eq!(answer["stop_reason"], Value::Null);
        assert_eq!(answer["usage"], json!({"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 2}));
        let answer = message(|payload| payload["model_parameters"]["stop_sequences"] = json!([]));
        assert_eq!(answer["stop_reason"], "end_turn");
    }

    #[test]
    fn what_an_answer_says_is_kept_whatever_its_form() {
        let content = |said: Value| match read(|payload| payload["response"]["choices"][0]["message"] = said).unwrap().answer {
            Answered::With(message) => message["content"].clone(),
            _ => Value::Null,
        };
        assert_eq!(
            content(json!({"content": [{"type": "text", "text": "\u{e9}"}]})),
            json!([{"type": "text", "text": "\u{e9}"}])
        );
        assert_eq!(content(json!({"content": 7})), json!([7]));
        let called = |arguments: &str| {
            let call = json!({"id": "t", "function": {"name": "Read", "arguments": arguments}});
            content(json!({"content": null, "tool_calls": [call]}))[0]["input"].clone()
        };
        assert_eq!(
            ["", "{\"a\": 1}", "{\"a", "{\"a\": \"\\ud83d\"}"].map(called),
            [json!({}), json!({"a": 1}), json!("{\"a"), json!({"a": "\u{fffd}"})]
        );
    }

    #[test]
    fn what_is_no_answer_is_not_known() {
        for kind in ["anthropic_messages", "acompletion"] {
            for response in [json!(null), json!(""), json!({"text": LEFT_OUT}), json!({"choices": []})] {
                let read = read(|payload| {
                    payload["call_type"] = json!(kind);
                    payload["response"] = response.clone();
                });
                assert!(matches!(read.unwrap().answer, Answered::Unknown), "{response}");
            }
        }
        let reason = read(|payload| payload["messages"] = json!("Hi")).err();
        assert_eq!(reason.as_deref(), Some("`messages` is no list"));
    }

    #[test]
    fn half_a_surrogate_pair_loses_no_call() {
        let payload = payload().to_string().replace("Hello", "Hello \\ud83d");
        let call = call("line 1", &RawValue::from_string(payload).unwrap()).unwrap();
        let Answered::With(message) = call.answer else { panic!("it has an answer") };
        assert_eq!(message["content"][0]["text"], "Hello \u{fffd}");
    }

    #[test]
    fn a_call_without_all_of_its_texts_is_no_trace() {
        let reason = |content: &str| read(|payload| payload["messages"][0]["content"] = json!(content)).err().unwrap_or_default();
        assert!(reason(LEFT_OUT).contains("no texts"));
        for cut in [
            "a... (litellm_truncated 12 chars)",
            "a... (litellm_truncated skipped 12 chars. It is whole elsewhere.) ...b",
            "data:image/png;base64,[base64_data truncated: 1.50MB]",
            format!("a{CUT_END}").as_str(),
        ] {
            assert!(reason(cut).contains("has cut"), "{cut}");
        }
        // As a program says it.
        assert_eq!(reason("f'(litellm_truncated skipped {count} chars)' or '[base64_data truncated: {size}]'"), "");
        let tools = json!([{"description": "(litellm_truncated 5 chars)"}]);
        assert!(read(|payload| payload["model_parameters"]["tools"] = tools).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_or_left_out_is_not_known() {
        for text in ["a... (litellm_truncated 5 chars)", LEFT_OUT] {
            let read = |place: &str| {
                read(|payload| *payload["response"].pointer_mut(place).unwrap() = json!({"content": text, "role": "assistant"}))
            };
            assert!(matches!(read("/choices/0/message").unwrap().answer, Answered::Unknown), "{text}");
            // As LiteLLM has it where the answer is of no kind that it knows.
            assert!(matches!(read("").unwrap().answer, Answered::Unknown), "{text}");
        }
    }

    #[test]
    fn the_clients_session_goes_before_that_of_a_request() {
        assert_eq!(read(|_| {}).unwrap().session.as_deref(), Some("one request"));
        assert_eq!(read(|payload| payload["session_id"] = json!("s")).unwrap().session.as_deref(), Some("s"));
        let without = |payload: &mut Value| {
            payload["session_id"] = Value::Null;
            payload["trace_id"] = Value::Null;
        };
        assert_eq!(read(without).unwrap().session, None);
    }
}
