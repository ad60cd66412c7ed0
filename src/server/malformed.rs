//! Parsing a request's body, and explaining to the client what is wrong with a malformed one.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// Parses a body. The error is one sentence that names the field: `messages.0.content.1.type: unknown variant …`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("the request has no body: a JSON object is expected".into());
    }
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes).unwrap_or_else(|| error.to_string()))
}

/// The error with the path to its field. Tracking paths takes time, so only bodies with an error are parsed this way.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_slice(bytes)).err()?;
    let path = dotted(error.path());
    let reason = error.into_inner();
    Some(if path.is_empty() || !reason.is_data() { reason.to_string() } else { format!("{path}: {reason}") })
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
    fn an_error_names_the_field() {
        let cases = [
            ("", "the request has no body"),
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("[]", "invalid type: sequence, expected struct MessagesRequest"),
            (r#"{"model":"m","messages":[]}"#, "missing field `max_tokens`"),
            (r#"{"model":"m","messages":[],"max_tokens":-1}"#, "max_tokens: invalid value: integer `-1`"),
            (r#"{"model":"m","messages":[{"role":"user"}],"max_tokens":1}"#, "messages.0: missing field `content`"),
            (
                r#"{"model":"m","messages":[{"role":"robot","content":""}],"max_tokens":1}"#,
                "messages.0.role: unknown variant `robot`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"hologram"}]}],"max_tokens":1}"#,
                "messages.0.content.1.type: unknown variant `hologram`",
            ),
            (
                r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}],"max_tokens":1}"#,
                "messages.0.content.0: missing field `text`",
            ),
            (r#"{"model":"m","messages":[],"max_tokens":1,"system":[{"type":"x"}]}"#, "system.0.type: unknown variant `x`"),
            (r#"{"model":"m","messages":[],"max_tokens":1,"tools":[{}]}"#, "tools.0: missing field `name`"),
            (r#"{"model":"m","messages":[],"max_tokens":1} x"#, "trailing characters"),
        ];
        for (body, expected) in cases {
            let error = parse::<MessagesRequest>(body.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{body}\n  gave      {error}\n  expected  {expected}");
        }
    }
}
