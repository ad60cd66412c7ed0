//! The paths by which errors name a field.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wire::openai::responses::ResponsesRequest;
use crate::wire::openai::{ChatRequest, CompletionRequest};
use crate::wire::{CountTokensRequest, MessagesRequest};

/// Whose paths the errors of a body have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStyle {
    /// Anthropic's: behind the place of a content block, a tool and other parts of several types comes the type, as in
    /// `messages.0.content.1.text.text`.
    Anthropic,
    /// The steps to the field and nothing else.
    Plain,
}

/// The body of a route.
pub(crate) trait RequestBody: DeserializeOwned {
    const PATHS: PathStyle;
}

impl RequestBody for MessagesRequest {
    const PATHS: PathStyle = PathStyle::Anthropic;
}

impl RequestBody for CountTokensRequest {
    const PATHS: PathStyle = PathStyle::Anthropic;
}

impl RequestBody for ChatRequest {
    const PATHS: PathStyle = PathStyle::Plain;
}

impl RequestBody for ResponsesRequest {
    const PATHS: PathStyle = PathStyle::Plain;
}

impl RequestBody for CompletionRequest {
    const PATHS: PathStyle = PathStyle::Plain;
}

impl PathStyle {
    /// The path of the field at the end of these steps through a body.
    pub(super) fn path(self, body: &Value, steps: &[String]) -> String {
        let mut path: Vec<&str> = Vec::new();
        let mut part = Some(body);
        for (at, step) in steps.iter().enumerate() {
            path.push(step);
            part = part.and_then(|part| child(part, step));
            let is_last = at + 1 == steps.len();
            let next_is_type = steps.get(at + 1).is_some_and(|next| next == "type");
            if self == Self::Anthropic && !is_last && !next_is_type {
                path.extend(part.and_then(|part| type_in_path(part, &steps[..=at])));
            }
        }
        path.join(".")
    }
}

fn child<'a>(part: &'a Value, step: &str) -> Option<&'a Value> {
    match part {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// What comes in Anthropic's path behind these steps, which lead to this part.
fn type_in_path<'a>(part: &'a Value, steps: &[String]) -> Option<&'a str> {
    let kind = part.get("type").and_then(Value::as_str);
    match steps {
        // A field that is read apart from the rest of its body is one step: `document.source.content`.
        [.., list, _] if list.rsplit('.').next() == Some("content") => kind,
        [.., list, _] if list == "tools" => Some(kind.unwrap_or("custom")),
        [.., field] if ["tool_choice", "source"].contains(&field.as_str()) => kind,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_stand_behind_the_places_of_blocks_and_tools() {
        let image = json!({"type": "image", "source": {"type": "base64"}});
        let body = json!({"messages": [{"content": [image, {"type": "tool_result", "content": [{"type": "text"}]}]}],
            "tools": [{}, {"type": "bash_20250124"}], "tool_choice": {"type": "tool"}, "system": [{"type": "text"}]});
        let path = |style: PathStyle, path: &str| style.path(&body, &path.split('.').map(str::to_owned).collect::<Vec<_>>());
        for (plain, anthropic) in [
            ("messages.0.content", "messages.0.content"),
            ("messages.0.content.0", "messages.0.content.0"),
            ("messages.0.content.0.type", "messages.0.content.0.type"),
            ("messages.0.content.0.source", "messages.0.content.0.image.source"),
            ("messages.0.content.0.source.data", "messages.0.content.0.image.source.base64.data"),
            ("messages.0.content.1.content.0.text", "messages.0.content.1.tool_result.content.0.text.text"),
            ("tools.0.name", "tools.0.custom.name"),
            ("tools.1.name", "tools.1.bash_20250124.name"),
            ("tool_choice.name", "tool_choice.tool.name"),
            ("system.0.text", "system.0.text"),
            ("max_tokens", "max_tokens"),
        ] {
            assert_eq!(path(PathStyle::Anthropic, plain), anthropic);
            assert_eq!(path(PathStyle::Plain, plain), plain);
        }
    }
}
