//! Scrubbing: making a trace fit to be shared. Prose becomes filler; people and machines become anonymous.
//!
//! Kept, because snapshots, caches and servers depend on it: structure, ids, tool names, schemas, enum values, `cache_control`,
//! the model, timing, the line that names the working directory. Kept without home folders and mail addresses: the arguments of
//! tool calls, and what the user wrote. Replaced with filler: other system text, descriptions, tool results, the model's text and
//! thinking, reminders. Every text keeps its length in characters, so that an answer is cut into the same deltas as before.

mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::text::{opaque, prose, user_turn, verbatim};
use super::redact::{Redactor, StreamRedactor};
use super::{RecordedEvent, Trace, assemble};

/// What replaces every image: a transparent pixel, as base64 of a PNG file.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// Headers that identify a person, a machine or a request.
const IDENTIFYING: [&str; 10] = [
    "anthropic-organization-id",
    "cf-ray",
    "request-id",
    "traceparent",
    "x-claude-code-session-id",
    "x-client-request-id",
    "x-request-id",
    "x-stainless-arch",
    "x-stainless-os",
    "x-stainless-runtime-version",
];

/// Scrubs a trace. Secrets that it still has are redacted. Scrubbing a scrubbed trace changes nothing.
pub fn scrub(mut trace: Trace) -> Trace {
    redact(&mut trace);
    headers(&mut trace.request.headers);
    headers(&mut trace.response.headers);
    trace.client = user_agent(&trace.client);
    request(&mut trace.request.body);
    events(&mut trace.response.events);
    let body = &mut trace.response.body;
    if !trace.response.events.is_empty() {
        *body = assemble(&trace.response.events);
    } else if body["type"] == "message" {
        body.get_mut("content").into_iter().for_each(|content| blocks(content, prose));
    } else {
        every_string(body, verbatim);
    }
    trace
}

fn redact(trace: &mut Trace) {
    let redactor = Redactor::default();
    redactor.json(&mut trace.request.body);
    redactor.json(&mut trace.response.body);
    let mut stream = StreamRedactor::new(redactor);
    let mut events: Vec<RecordedEvent> = trace.response.events.drain(..).flat_map(|event| stream.push(event)).collect();
    events.extend(stream.finish());
    trace.response.events = events;
}

fn headers(headers: &mut Map<String, Value>) {
    for (name, value) in headers {
        if IDENTIFYING.contains(&name.as_str()) {
            every_string(value, opaque);
        } else if name == "user-agent" {
            every_string(value, user_agent);
        }
    }
}

/// Keeps product and version. A comment in brackets stays if Claude Code wrote it; with a semicolon it describes the machine.
fn user_agent(agent: &str) -> String {
    match (agent.find('('), agent.rfind(')')) {
        (Some(start), Some(end)) if start < end && agent[start..end].contains(';') => {
            format!("{}(scrubbed){}", &agent[..start], &agent[end + 1..])
        }
        _ => agent.to_owned(),
    }
}

fn request(body: &mut Value) {
    let Some(fields) = body.as_object_mut() else { return every_string(body, verbatim) };
    for (key, value) in fields {
        match key.as_str() {
            "system" => blocks(value, prose),
            "messages" => value.as_array_mut().into_iter().flatten().for_each(message),
            "tools" => value.as_array_mut().into_iter().flatten().for_each(descriptions),
            "metadata" => every_string(value, opaque),
            _ => {}
        }
    }
}

fn message(message: &mut Value) {
    let of_user = message["role"] == "user";
    if let Some(content) = message.get_mut("content") {
        blocks(content, if of_user { user_turn } else { prose });
    }
}

/// Scrubs a content: a text, or a list of blocks. `scrub_text` is for its texts; tool results are always prose.
fn blocks(content: &mut Value, scrub_text: fn(&str) -> String) {
    match content {
        Value::String(text) => *text = scrub_text(text),
        Value::Array(blocks) => blocks.iter_mut().for_each(|b| block(b, scrub_text)),
        _ => {}
    }
}

fn block(block: &mut Value, scrub_text: fn(&str) -> String) {
    let kind = block["type"].as_str().unwrap_or_default().to_owned();
    let Some(fields) = block.as_object_mut() else { return };
    for (key, value) in fields {
        match (kind.as_str(), key.as_str()) {
            (_, "type" | "id" | "name" | "tool_use_id" | "cache_control" | "is_error") => {}
            ("text", "text") => blocks(value, scrub_text),
            (_, "input") => every_string(value, verbatim),
            (_, "signature" | "data") => every_string(value, opaque),
            ("image", "source") => *value = json!({"type": "base64", "media_type": "image/png", "data": PIXEL}),
            (_, "content") => blocks(value, prose),
            _ => every_string(value, prose),
        }
    }
}

/// Scrubs the descriptions of a tool and, at any depth, of its schema.
fn descriptions(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(descriptions),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "description" => *text = prose(text),
                    // Examples and defaults are values, whatever their keys are called.
                    _ if matches!(key.as_str(), "default" | "const" | "enum" | "examples") => {}
                    value => descriptions(value),
                }
            }
        }
        _ => {}
    }
}

/// Scrubs an answer's deltas: the joined text of each block is scrubbed and cut where it was cut before.
fn events(events: &mut [RecordedEvent]) {
    let mut pieces_of: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (position, event) in events.iter_mut().enumerate() {
        match event.data["type"].as_str() {
            Some("content_block_start") => {
                let index = event.data["index"].as_u64().unwrap_or_default();
                pieces_of.entry(index).or_default();
                // A word may start here and end in a delta, so this text is scrubbed with those of the deltas.
                let is_spelled = matches!(event.data["content_block"]["type"].as_str(), Some("text" | "thinking"));
                if is_spelled {
                    pieces_of.entry(index).or_default().push(position);
                } else if let Some(content) = event.data.get_mut("content_block") {
                    block(content, prose);
                }
            }
            Some("content_block_delta") => {
                pieces_of.entry(event.data["index"].as_u64().unwrap_or_default()).or_default().push(position);
            }
            Some("error") => event.data.pointer_mut("/error/message").into_iter().for_each(|text| every_string(text, verbatim)),
            _ => {}
        }
    }
    for positions in pieces_of.into_values() {
        for (field, scrub_text) in
            [("text", prose as fn(&str) -> String), ("thinking", prose), ("signature", opaque), ("partial_json", arguments)]
        {
            respell(events, &positions, field, scrub_text);
        }
        for position in positions {
            let citation = events[position].data.pointer_mut("/delta/citation");
            citation.into_iter().for_each(|citation| every_string(citation, prose));
        }
    }
}

/// Scrubs the joined text of `field` in the events at `positions`. Each piece keeps its number of characters; the last one gets
/// the rest.
fn respell(events: &mut [RecordedEvent], positions: &[usize], field: &str, scrub_text: fn(&str) -> String) {
    let mut pieces: Vec<&mut String> = Vec::new();
    for (position, event) in events.iter_mut().enumerate() {
        if positions.contains(&position)
            && let Some(Value::String(piece)) = spelled_in(&mut event.data).and_then(|fields| fields.get_mut(field))
        {
            pieces.push(piece);
        }
    }
    let whole: String = pieces.iter().map(|piece| piece.as_str()).collect();
    let scrubbed = scrub_text(&whole);
    let mut rest = scrubbed.chars();
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        let length = if number == last { usize::MAX } else { piece.chars().count() };
        *piece = rest.by_ref().take(length).collect();
    }
}

fn spelled_in(data: &mut Value) -> Option<&mut Map<String, Value>> {
    let holder = if data["type"] == "content_block_start" { "content_block" } else { "delta" };
    data.get_mut(holder)?.as_object_mut()
}

/// A tool call's arguments, as JSON text. The text is written anew only if a value changes.
fn arguments(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(original) => {
            let mut scrubbed = original.clone();
            every_string(&mut scrubbed, verbatim);
            if scrubbed == original { json.to_owned() } else { scrubbed.to_string() }
        }
        // The call was cut off.
        Err(_) => verbatim(json),
    }
}

fn every_string(value: &mut Value, scrub_text: fn(&str) -> String) {
    match value {
        Value::String(text) => *text = scrub_text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| every_string(item, scrub_text)),
        Value::Object(fields) => fields.values_mut().for_each(|value| every_string(value, scrub_text)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, ExchangeOutcome, Opening, RecordedRequest, VERSION, validate::problems_of};
    use super::*;
    use proptest::prelude::*;

    /// An exchange whose answer spells `text`, then a call of Read with `input`, in pieces of `size` characters.
    fn exchange(text: &str, input: &Value, size: usize) -> Trace {
        let mut draft = Draft::new(Opening {
            version: VERSION,
            id: "id".into(),
            session: "s".into(),
            seq: 1,
            recorded_at: "2026-01-02T03:04:05Z".into(),
            client: "claude-cli/2.1 (external, cli)".into(),
            mode: "anthropic".into(),
            request: RecordedRequest {
                method: "POST".into(),
                path: "/v1/messages?beta=true".into(),
                headers: serde_json::from_value(json!({"x-claude-code-session-id": "1234", "accept": "a/b"})).unwrap(),
                body: json!({
                    "model": "claude-x", "max_tokens": 5,
                    "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"},
                        {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}],
                    "tools": [{"name": "Read", "description": text, "input_schema": {"type": "object", "properties": {
                        "description": {"type": "string", "description": text, "enum": ["Secretive"]}}}}],
                    "metadata": {"user_id": "user_1"},
                    "messages": [
                        {"role": "user", "content": [{"type": "text", "text": "<system-reminder>Secretive</system-reminder>Read /root/a"}]},
                        {"role": "assistant", "content": [{"type": "text", "text": text},
                            {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": input}]},
                        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text}]},
                    ],
                }),
            },
        });
        draft.respond(200, Map::new());
        let pieces = |text: &str| text.chars().collect::<Vec<_>>().chunks(size).map(String::from_iter).collect::<Vec<_>>();
        let mut events = vec![json!({"type":"message_start","message":{"type":"message","content":[]}})];
        events.push(json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}));
        for piece in pieces(text) {
            events.push(json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":piece}}));
        }
        events.push(json!({"type":"content_block_stop","index":0}));
        events.push(json!({"type":"content_block_start","index":1,"content_block":
            {"type":"tool_use","id":"toolu_2","name":"Read","input":{}}}));
        for piece in pieces(&input.to_string()) {
            events.push(json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":piece}}));
        }
        events.push(json!({"type":"content_block_stop","index":1}));
        events.push(json!({"type":"message_stop"}));
        for (at_us, data) in events.into_iter().enumerate() {
            draft.push(RecordedEvent { at_us: at_us as u64, event: data["type"].as_str().unwrap().into(), data });
        }
        draft.to_trace(ExchangeOutcome::Complete, None)
    }

    #[test]
    fn prose_goes_and_structure_stays() {
        let original = exchange("Secretive words, twice Secretive.", &json!({"file_path": "/root/a/hello.txt"}), 4);
        let scrubbed = scrub(original.clone());
        let text = serde_json::to_string(&scrubbed).unwrap();
        // The enum value is a name.
        assert_eq!(text.matches("Secretive").count(), 1, "{text}");
        assert!(!text.contains("/root") && !text.contains("user_1") && !text.contains("1234"), "{text}");
        let body = &scrubbed.request.body;
        assert_eq!(body["messages"][0]["content"][0]["text"].as_str().unwrap().rsplit('>').next(), Some("Read /home/user/a"));
        assert_eq!(body["messages"][1]["content"][1]["input"], json!({"file_path": "/home/user/a/hello.txt"}));
        assert_eq!(body["system"][0], original.request.body["system"][0]);
        assert_eq!(body["system"][1]["cache_control"], json!({"type": "ephemeral"}));
        let answer = &scrubbed.response.body["content"];
        assert_eq!(
            answer[1],
            json!({"type":"tool_use","id":"toolu_2","name":"Read","input":{"file_path":"/home/user/a/hello.txt"}})
        );
        for same in [&body["system"][1]["text"], &body["tools"][0]["description"], &body["messages"][2]["content"][0]["content"]]
        {
            assert_eq!(*same, answer[0]["text"], "equal text stays equal");
        }
        assert_eq!(scrubbed.timing, original.timing);
        assert_eq!(scrubbed.response.events.len(), original.response.events.len());
    }

    proptest! {
        #[test]
        fn a_scrubbed_trace_is_valid_and_scrubbing_it_again_changes_nothing(
            text in "[a-zA-Zé日 .,0-9\n]{1,40}", path in "(/root|/home/al|x@y.org|[a-z\"é/]){0,8}", size in 1usize..9
        ) {
            let once = scrub(exchange(&text, &json!({"file_path": path, "n": 1.5}), size));
            prop_assert_eq!(problems_of(&once), Vec::<String>::new());
            prop_assert_eq!(scrub(once.clone()), once);
        }
    }
}
