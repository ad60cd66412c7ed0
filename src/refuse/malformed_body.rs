//! Parsing a request's body, and explaining to the client what is wrong with a malformed one.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::error_path::PathStyle;
use super::field_at_fault::{FieldAtFault, innermost, step_below, steps_of};
use super::plain_words::{UNEXPECTED, in_plain_words};
use crate::wire::{from_json, without_lone_surrogates};

/// How many levels deep lists and objects may be, one in the other: the parser's own limit.
const DEEPEST: usize = 127;

/// Longest body, in bytes, in which the innermost part at fault is looked for.
const LONGEST_LOOKED_INTO: usize = 256 * 1024;

/// Parses a body. The error is one sentence that names the field: `messages.0.role: Input should be …`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], paths: PathStyle) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("the request has no body: a JSON object is expected".into());
    }
    from_json(bytes).map_err(|error| {
        if let Err(error) = std::str::from_utf8(bytes) {
            return format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        }
        let repaired = without_lone_surrogates(bytes);
        explain::<T>(repaired.as_deref().unwrap_or(bytes), paths).unwrap_or_else(|| no_json(&error))
    })
}

/// The error with the path to its field. Tracking paths takes time, so only bodies with an error are parsed this way.
fn explain<T: DeserializeOwned>(bytes: &[u8], paths: PathStyle) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes)).err()?;
    let pointer = pointer_of(error.path());
    let reason = error.into_inner();
    if reason.to_string().starts_with("recursion limit exceeded") {
        return Some(format!("the request is nested more than {DEEPEST} levels deep"));
    }
    // The parser takes a number for broken JSON where the name of a variant is expected.
    if !reason.is_data() && serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
        return Some(no_json(&reason));
    }
    if bytes.len() <= LONGEST_LOOKED_INTO
        && let Ok(body) = serde_json::from_slice::<Value>(bytes)
        && body.pointer(&pointer).is_some()
        && let Some(FieldAtFault { body, pointer, reason }) = innermost::<T>(body, pointer.clone())
    {
        return Some(at_field(paths, &body, &pointer, &reason));
    }
    let reason = if reason.is_data() { without_position(&reason) } else { UNEXPECTED.to_owned() };
    Some(at_field(paths, &Value::Null, &pointer, &reason))
}

/// What is said of a text that is no JSON: here the place in it is all that there is to name.
fn no_json(error: &serde_json::Error) -> String {
    let reason = without_position(error);
    let reason = if reason.starts_with("EOF") { "it ends in the middle" } else { &reason };
    format!("The request body is not valid JSON: {reason}: line {}, column {}", error.line(), error.column())
}

/// What is wrong with the field that the pointer leads to, as Anthropic says it.
fn at_field(paths: PathStyle, body: &Value, pointer: &str, reason: &str) -> String {
    let mut steps = steps_of(pointer);
    let missing = reason.strip_prefix("missing field `").and_then(|name| name.strip_suffix('`'));
    steps.extend(missing.map(str::to_owned));
    let reason = missing.map_or_else(|| in_plain_words(reason), |_| "Field required".into());
    match paths.path(body, &steps) {
        path if path.is_empty() => reason,
        path => format!("{path}: {reason}"),
    }
}

/// The error without its line and column: clients have no lines, and they know the field.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map(str::to_owned).unwrap_or(text)
}

/// The path as a JSON pointer.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => step_below(&pointer, &index.to_string()),
        Segment::Map { key: step } | Segment::Enum { variant: step } => step_below(&pointer, step),
        Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessagesRequest;

    fn read(body: &str) -> Result<MessagesRequest, String> {
        parse(body.as_bytes(), PathStyle::Anthropic)
    }

    #[test]
    fn half_a_character_does_not_hide_the_other_fields_errors() {
        let body = |max_tokens: &str| format!(r#"{{"model":"m\ud83d","messages":[],"max_tokens":{max_tokens}}}"#);
        assert_eq!(read(&body("1")).unwrap().model, "m\u{fffd}");
        let error = read(&body("-1")).unwrap_err();
        assert_eq!(error, "max_tokens: Input should be greater than or equal to 0");
    }

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            ("", "the request has no body"),
            ("{", "The request body is not valid JSON: it ends in the middle: line 1, column 1"),
            ("[]", "Input should be a valid dictionary"),
            (r#"{"model":"m","messages":[]}"#, "max_tokens: Field required"),
            (r#"{"model":"m","messages":[],"max_tokens":-1}"#, "max_tokens: Input should be greater than or equal to 0"),
            (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":1}"#, "messages.0.content: Field required"),
            (
                r#"{"model":"m","messages":[{"role":"robot","content":""}],"max_tokens":1}"#,
                "messages.0.role: Input should be 'user', 'assistant' or 'system'",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},7]}],"max_tokens":1}"#,
                "messages.0.content.1: Input should be a valid dictionary",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}],"max_tokens":1}"#,
                "messages.0.content.0.text.text: Field required",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":7}]}],"max_tokens":1}"#,
                "messages.0.content.0.type: Input should be a valid string",
            ),
            (r#"{"model":"m","messages":[],"max_tokens":1,"system":[{"text":"x"}]}"#, "system.0.type: Field required"),
            (r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{}]}"#, "tools.0.custom.name: Field required"),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":7}]}],"max_tokens":1}"#,
                "messages.0.content.0.text.text: Input should be a valid string",
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":1,"tool_choice":{"type":"some"}}"#,
                "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'",
            ),
            (
                r#"{"model":"m","messages":[{"role":7,"content":""}],"max_tokens":1}"#,
                "messages.0.role: Input should be 'user', 'assistant' or 'system'",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":7}],"max_tokens":1}"#,
                "messages.0.content: Input should be a valid string or list",
            ),
            (
                r#"{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"a"}]}],"max_tokens":1}"#,
                "messages.0.content.0.tool_use.input: Field required",
            ),
            (r#"{"model":"m","messages":[],"max_tokens":1,"stream":"yes"}"#, "stream: Input should be a valid boolean"),
            (
                r#"{"model":"m","messages":[],"max_tokens":1,"stop_sequences":["a",7]}"#,
                "stop_sequences.1: Input should be a valid string",
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":1,"tool_choice":{"type":7}}"#,
                "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'",
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":1,"tool_choice":{"type":"tool"}}"#,
                "tool_choice.tool.name: Field required",
            ),
            (
                r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{"name":7}]}"#,
                "tools.0.custom.name: Input should be a valid string",
            ),
            (r#"{"model":"m","messages":{},"max_tokens":1}"#, "messages: Input should be a valid list"),
            (
                r#"{"model":"m","messages":[],"max_tokens":1} x"#,
                "The request body is not valid JSON: trailing characters: line 1, column",
            ),
        ];
        for (body, expected) in cases {
            let error = read(body).unwrap_err();
            assert!(error.starts_with(expected), "{body}\n  gave      {error}\n  expected  {expected}");
            assert!(!error.contains(" line ") || expected.contains(" line "), "{error}");
        }
    }

    #[test]
    fn a_body_nested_too_deep_is_refused_in_one_sentence() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            read(&format!(r#"{{"model":"m","messages":[],"max_tokens":1,"x":{open}{close}}}"#))
        };
        assert!(nested(DEEPEST - 1).is_ok());
        assert_eq!(nested(DEEPEST + 1).unwrap_err(), "the request is nested more than 127 levels deep");
        assert_eq!(nested(100_000).unwrap_err(), "the request is nested more than 127 levels deep");
    }
}
