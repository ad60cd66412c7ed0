//! A begun answer: a final assistant message, from which the answer goes on. Anthropic calls it prefill.

use crate::engine::EngineError;
use crate::engine::decode::ThinkingTags;
use crate::wire::{ContentBlock, MessagesRequest, OutputFormat, Role};

/// Takes the begun answer from the request's end. A message with anything but text is none; neither is the only one.
///
/// The answer goes on in its text, so there is no room for thoughts before: the request asks for none any more.
///
/// # Errors
/// The request has an output format too, whose value begins with the answer.
pub(super) fn take_begun_answer(request: &mut MessagesRequest) -> Result<Option<String>, EngineError> {
    let [.., _, last] = &request.messages[..] else { return Ok(None) };
    let blocks = last.content.blocks();
    let texts = blocks.iter().map(|block| match block {
        ContentBlock::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let Some(text) = (last.role == Role::Assistant).then(|| texts.collect::<Option<String>>()).flatten() else { return Ok(None) };
    if matches!(OutputFormat::of(&request.extra), Ok(Some(_))) {
        let reason = "messages: a final assistant message cannot be combined with an output format";
        return Err(EngineError::Request(reason.into()));
    }
    request.messages.pop();
    request.extra.remove("thinking");
    Ok(Some(text))
}

/// The prompt with the beginning of the answer, after what the format has before texts. If the template has opened thoughts, they
/// are closed before.
pub(super) fn continued(mut prompt: String, before_text: &str, begun: &str) -> String {
    if let Some(tags) = ThinkingTags::opened_by(&prompt) {
        prompt.push_str(&format!("\n{}\n\n", tags.close));
    }
    prompt + before_text + begun
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn taken(last: Value, extra: Value) -> (Result<Option<String>, String>, usize) {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}, last]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut request = serde_json::from_value(body).unwrap();
        let begun = take_begun_answer(&mut request).map_err(|e| e.to_string());
        assert!(begun != Ok(Some("So".into())) || request.extra.is_empty());
        (begun, request.messages.len())
    }

    #[test]
    fn the_last_message_begins_the_answer_if_it_is_the_assistants_text() {
        let assistant = |content: Value| json!({"role": "assistant", "content": content});
        let thinking = json!({"thinking": {"type": "adaptive"}});
        assert_eq!(taken(assistant(json!("So")), thinking), (Ok(Some("So".into())), 1));
        let texts = json!([{"type": "text", "text": "S"}, {"type": "text", "text": "o"}]);
        assert_eq!(taken(assistant(texts), json!({})), (Ok(Some("So".into())), 1));
        assert_eq!(taken(json!({"role": "user", "content": "So"}), json!({})), (Ok(None), 2));
        let call = json!([{"type": "tool_use", "id": "t", "name": "X", "input": {}}]);
        assert_eq!(taken(assistant(call), json!({})), (Ok(None), 2));
        let format = json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}});
        let reason = "messages: a final assistant message cannot be combined with an output format";
        assert_eq!(taken(assistant(json!("So")), format), (Err(reason.into()), 2));
    }

    #[test]
    fn a_begun_answer_is_never_a_thought() {
        assert_eq!(continued("<|im_start|>assistant\n".into(), "", "So"), "<|im_start|>assistant\nSo");
        assert_eq!(continued("assistant<think>\n".into(), "", "So"), "assistant<think>\n\n</think>\n\nSo");
        let header = "<|channel|>final<|message|>";
        assert_eq!(continued("<|start|>assistant".into(), header, "So"), format!("<|start|>assistant{header}So"));
    }
}
