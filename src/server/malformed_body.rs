//! Parsing a request's body, and explaining to the client what is wrong with a malformed one.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::wire::{from_json, without_lone_surrogates};

/// Parses a body. The error is one sentence that names the field: `messages.0.content.1.type: unknown variant …`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("the request has no body: a JSON object is expected".into());
    }
    from_json(bytes).map_err(|error| {
        let repaired = without_lone_surrogates(bytes);
        explain::<T>(repaired.as_deref().unwrap_or(bytes)).unwrap_or_else(|| error.to_string())
    })
}

/// The error with the path to its field. Tracking paths takes time, so only bodies with an error are parsed this way.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes)).err()?;
    let path = dotted(error.path());
    let reason = error.into_inner();
    Some(match reason.is_data() {
        true => at_field(&path, &without_position(&reason)),
        false => reason.to_string(),
    })
}

/// What is wrong with the field, as Anthropic says it.
fn at_field(path: &str, reason: &str) -> String {
    let missing = reason.strip_prefix("missing field `").and_then(|name| name.strip_suffix('`'));
    match (path, missing) {
        ("", None) => reason.to_owned(),
        ("", Some(name)) => format!("{name}: Field required"),
        (path, Some(name)) => format!("{path}.{name}: Field required"),
        (path, None) => format!("{path}: {reason}"),
    }
}

/// The error without its line and column: clients have no lines, and they know the field.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).map(str::to_owned).unwrap_or(text)
}

/// A path as Anthropic writes it: `messages.0.content.1`.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessagesRequest;

    #[test]
    fn half_a_character_does_not_hide_the_other_fields_errors() {
        let body = |max_tokens: &str| format!(r#"{{"model":"m\ud83d","messages":[],"max_tokens":{max_tokens}}}"#);
        assert_eq!(parse::<MessagesRequest>(body("1").as_bytes()).unwrap().model, "m\u{fffd}");
        let error = parse::<MessagesRequest>(body("-1").as_bytes()).unwrap_err();
        assert!(error.starts_with("max_tokens: invalid value"), "{error}");
    }

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            ("", "the request has no body"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "invalid type: sequence, expected struct MessagesRequest"),
            (r#"{"model":"m","messages":[]}"#, "max_tokens: Field required"),
            (r#"{"model":"m","messages":[],"max_tokens":-1}"#, "max_tokens: invalid value: integer `-1`"),
            (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":1}"#, "messages.0.content: Field required"),
            (
                r#"{"model":"m","messages":[{"role":"robot","content":""}],"max_tokens":1}"#,
                "messages.0.role: unknown variant `robot`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},7]}],"max_tokens":1}"#,
                "messages.0.content.1: invalid type: integer `7`, expected a map",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}],"max_tokens":1}"#,
                "messages.0.content.0.text: Field required",
            ),
            (r#"{"model":"m","messages":[],"max_tokens":1,"system":[{"text":"x"}]}"#, "system.0.type: Field required"),
            (r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{}]}"#, "tools.0.name: Field required"),
            (r#"{"model":"m","messages":[],"max_tokens":1} x"#, "trailing characters"),
        ];
        for (body, expected) in cases {
            let error = parse::<MessagesRequest>(body.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{body}\n  gave      {error}\n  expected  {expected}");
            assert!(!error.contains(" line ") || expected.contains(" line ") || expected == "trailing characters", "{error}");
        }
    }
}
