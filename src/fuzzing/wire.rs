//! What needs no model: the protocols, and files of text.

use serde_json::Value;

use super::{pieces, text_pieces};
use crate::convert::{
    ChunkReader, Dialect, estimated_tokens, for_text_model, from_chat, from_completion, from_responses, to_chat,
};
use crate::refuse::{PathStyle, check_as_anthropic, parse};
use crate::snapshot::Snapshot;
use crate::trace::redact::{Redactor, StreamRedactor};
use crate::trace::scrub::{Turns, scrub};
use crate::trace::{RecordedEvent, Trace, validate};
use crate::wire::frames_of;
use crate::wire::openai::responses::ResponsesRequest;
use crate::wire::openai::{ChatChunk, ChatRequest, CompletionRequest};
use crate::wire::{Assembler, MessagesRequest, StreamEvent, from_json};

/// Events are the same however their bytes are cut.
pub fn sse(bytes: &[u8]) {
    let (whole, pieces) = pieces(bytes);
    assert_eq!(frames_of([whole]), frames_of(pieces));
}

/// A trace that can be read can be validated and scrubbed. Scrubbing what is scrubbed changes nothing.
pub fn trace(bytes: &[u8]) {
    let Ok(trace) = serde_json::from_slice::<Trace>(bytes) else { return };
    let redactor = Redactor::default();
    validate::problems_of(&trace, &redactor);
    for turns in [Turns::Filler, Turns::Kept] {
        let once = scrub(trace.clone(), turns, &redactor);
        assert_eq!(scrub(once.clone(), turns, &redactor), once);
    }
}

/// A snapshot is read as it was written.
pub fn snapshot(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(snapshot) = Snapshot::parse(text) {
        let again = Snapshot::parse(&snapshot.to_text()).unwrap_or_else(|error| panic!("{error}: {}", snapshot.to_text()));
        assert_eq!(again.to_text(), snapshot.to_text());
    }
}

/// An error is one line.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for name in crate::config::FILE_NAMES {
        if let Err(error) = crate::config::parse(name.as_ref(), text) {
            let error = error.to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

/// A known key that stands alone on a line goes, whatever is around it and however the text is cut.
pub fn redaction(bytes: &[u8]) {
    // Put together here, so that no key stands in the source.
    let secret = ["sk-ant-", "api03-Zk3vQ9xT1mB7wR5hJ2nF8cY4dL6gPsUa"].concat();
    let (text, pieces) = text_pieces(bytes);
    let redactor = Redactor::default();
    assert!(!redactor.text(&format!("{text}\n{secret}\n{text}")).contains(&secret));
    let mut body = from_json(text.as_bytes()).unwrap_or(Value::Null);
    redactor.json(&mut body);
    redactor.path(&text);
    redactor.headers([("x-echo", text.as_str()), ("cookie", &text)]);
    let mut stream = StreamRedactor::new(redactor);
    let around = pieces.iter().map(String::as_str);
    let key = ["\n", &secret[..9], &secret[9..30], &secret[30..], "\n"];
    let events = around.clone().chain(key).chain(around).map(delta);
    let mut said: Vec<RecordedEvent> = events.flat_map(|event| stream.push(event)).collect();
    said.extend(stream.finish());
    let said: String = said.iter().filter_map(|event| event.data["delta"]["text"].as_str()).collect();
    assert!(!said.contains(&secret), "{said}");
}

fn delta(text: &str) -> RecordedEvent {
    let data = serde_json::json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    RecordedEvent { at_us: 1, event: "content_block_delta".into(), data }
}

/// A body of the Messages API is refused in one line, or read and converted.
pub fn messages(bytes: &[u8]) {
    let mut request: MessagesRequest = match parse(bytes, PathStyle::Plain) {
        Ok(request) => request,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    if check_as_anthropic(&request).is_err() {
        return;
    }
    for dialect in [Dialect::OpenAi, Dialect::OpenRouter, Dialect::LmStudio, Dialect::Compatible] {
        let chat = to_chat(&request, "m", dialect).request;
        estimated_tokens(&chat);
    }
    for_text_model(&mut request);
}

/// A body of OpenAI's APIs is refused, or becomes a Messages request.
pub fn chat(bytes: &[u8]) {
    if let Ok(chat) = parse::<ChatRequest>(bytes, PathStyle::Plain)
        && let Ok(converted) = from_chat(chat)
    {
        to_chat(&converted.request, "m", Dialect::Compatible);
    }
    if let Ok(responses) = parse::<ResponsesRequest>(bytes, PathStyle::Plain)
        && let Ok(converted) = from_responses(responses)
    {
        to_chat(&converted.request, "m", Dialect::OpenAi);
    }
    if let Ok(completion) = parse::<CompletionRequest>(bytes, PathStyle::Plain) {
        from_completion(completion).ok();
    }
}

/// The events of a stream assemble to a message, and chunks of a chat stream become events that do.
pub fn answer(bytes: &[u8]) {
    let request = r#"{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "Read", "input_schema": {"type": "object"}}]}"#;
    let Ok(request) = from_json::<MessagesRequest>(request.as_bytes()) else { return };
    let (mut assembler, mut reader) = (Assembler::default(), ChunkReader::new(&request));
    let mut events = Vec::new();
    for frame in frames_of([bytes]) {
        if let Ok(event) = from_json::<StreamEvent>(frame.1.as_bytes()) {
            assembler.push(&event).ok();
        }
        if let Ok(chunk) = from_json::<ChatChunk>(frame.1.as_bytes()) {
            events.extend(reader.push(chunk));
        }
    }
    assembler.into_partial();
    events.extend(reader.done());
    if !events.is_empty() {
        let mut assembler = Assembler::default();
        for event in &events {
            assembler.push(event).unwrap_or_else(|error| panic!("{error}: {events:?}"));
        }
        // An error of the server ends the stream at any point, and nothing comes after it.
        let failed = events.iter().position(|event| matches!(event, StreamEvent::Error { .. }));
        match failed {
            Some(at) => assert_eq!(at + 1, events.len(), "{events:?}"),
            None => drop(assembler.finish().unwrap_or_else(|error| panic!("{error}: {events:?}"))),
        }
    }
}
