//! Every kind of secret by every place where it may stand, as one table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::super::{REDACTED, Redactor, StreamRedactor};
use super::kinds::{Kind, kinds};
use super::streamed;
use crate::trace::RecordedEvent;
use crate::trace::pieces::pieces_in;

/// A place: its name, and what is written of a text that stands there.
type Place = (&'static str, fn(&Redactor, &str) -> String);

const PLACES: &[Place] = &[
    ("a value of JSON", |redactor, text| {
        let mut body = json!({"messages": [{"content": [{"type": "text", "text": text}]}]});
        redactor.json(&mut body);
        body.to_string()
    }),
    ("JSON inside of a text", |redactor, text| redactor.text(&json!({ "output": text }).to_string()).into_owned()),
    ("JSON of another kind inside of a text", |redactor, text| {
        redactor.text(&json!({ "output": text }).to_string().replace("\\\"", "\\u0022").replace('+', "\\u002b")).into_owned()
    }),
    ("a file in base64", |redactor, text| {
        let mut body = json!({"source": {"type": "base64", "media_type": "text/plain", "data": STANDARD.encode(format!("# Notes\n{text}\n"))}});
        redactor.json(&mut body);
        decoded(body["source"]["data"].as_str().unwrap())
    }),
    ("an address with a file in base64", |redactor, text| {
        let mut body = json!({"image_url": format!("data:text/plain;base64,{}", STANDARD.encode(format!("{text}\n")))});
        redactor.json(&mut body);
        let url = body["image_url"].as_str().unwrap();
        decoded(url.strip_prefix("data:text/plain;base64,").unwrap_or(url))
    }),
    ("a body with bytes that are no text", |redactor, text| {
        redactor.text(&String::from_utf8_lossy(&[b"\xff\xfe\n", text.as_bytes(), b"\n\xc3"].concat())).into_owned()
    }),
    ("a header", |redactor, text| Value::Object(redactor.headers([("x-echo", text)])).to_string()),
    ("a query", |redactor, text| {
        redactor.path(&format!("/v1/messages?beta=true&note={}", utf8_percent_encode(text, NON_ALPHANUMERIC)))
    }),
    ("a query, encoded twice", |redactor, text| {
        let once = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        redactor.path(&format!("/v1/messages?note={}", utf8_percent_encode(&once, NON_ALPHANUMERIC)))
    }),
    ("a path", |redactor, text| redactor.path(&format!("/v1/files/{}/content", utf8_percent_encode(text, NON_ALPHANUMERIC)))),
    ("the name of an event", |redactor, text| {
        let mut stream = StreamRedactor::new(redactor.clone());
        let event = RecordedEvent { at_us: 1, event: text.into(), data: json!({}) };
        stream.push(event).into_iter().map(|event| event.event).collect()
    }),
    ("events that spell a text in other protocols", |redactor, text| {
        let spell = |wrap: &dyn Fn(&str) -> Value| {
            let text = format!("take\n{text} for it");
            // Each byte is a cut in the place before.
            let cuts = (0..=text.len()).step_by(7).filter(|cut| text.is_char_boundary(*cut));
            let spelled = |cut: usize| spelled(redactor, [wrap(&text[..cut]), wrap(&text[cut..])]);
            cuts.map(spelled).collect::<Vec<_>>().join("\n")
        };
        [
            spell(&|piece| json!(piece)),
            spell(&|piece| json!({"type": "completion", "completion": piece})),
            spell(&|piece| json!({"candidates": [{"content": {"parts": [{"text": piece}]}}]})),
            spell(&|piece| json!({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": piece}]}}]})),
            spell(&|piece| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]})),
            spell(&|piece| json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": piece})),
            spell(&|piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}})),
        ]
        .join("\n")
    }),
    ("a shell's assignment", |redactor, text| redactor.text(&format!("cd src && NOTE='{text}' make run")).into_owned()),
    ("prose", |redactor, text| redactor.text(&format!("Yes, take {text} for it, and tell nobody.")).into_owned()),
    ("a quotation", |redactor, text| redactor.text(&format!("It says `{text}`.")).into_owned()),
    ("two deltas", |redactor, text| {
        let text = format!("take {text} for it");
        let cuts = (0..=text.len()).filter(|cut| text.is_char_boundary(*cut));
        cuts.map(|cut| streamed(redactor, [&text[..cut], &text[cut..]])).collect::<Vec<_>>().join("\n")
    }),
];

/// A text in base64 as it is read, or what it was replaced by as a whole.
fn decoded(data: &str) -> String {
    STANDARD.decode(data).map_or_else(|_| data.to_owned(), |bytes| String::from_utf8(bytes).unwrap())
}

/// All texts of a stream of these events after redaction, one after the other.
fn spelled(redactor: &Redactor, events: [Value; 2]) -> String {
    let mut stream = StreamRedactor::new(redactor.clone());
    let events = events.map(|data| RecordedEvent { at_us: 1, event: "message".into(), data });
    let mut out: Vec<RecordedEvent> = events.into_iter().flat_map(|event| stream.push(event)).collect();
    out.extend(stream.finish());
    let pieces =
        |event: &mut RecordedEvent| pieces_in(&mut event.data).into_iter().map(|piece| piece.text.clone()).collect::<String>();
    out.iter_mut().map(pieces).collect()
}

#[test]
fn no_kind_of_secret_stays_in_any_place() {
    let redactor = Redactor::default();
    let mut left = Vec::new();
    for Kind { name, text, secret } in kinds() {
        for (place, write) in PLACES {
            let written = write(&redactor, &text);
            let part = secret.len().min(8);
            let leaks =
                secret.as_bytes().windows(part).any(|part| written.as_bytes().windows(part.len()).any(|bytes| bytes == part));
            if leaks || !written.contains(REDACTED) {
                left.push(format!("{name} in {place}"));
            }
        }
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn headers_with_names_of_secrets_lose_any_value() {
    for name in ["x-corp-auth", "x-authz-code", "x-vault-token", "x-goog-api-key", "private-token", "x-session-secret", "cookie"]
    {
        let written = Value::Object(Redactor::default().headers([(name, "sunshine")])).to_string();
        assert!(!written.contains("sunshine"), "{written}");
    }
}
