//! Estimating the tokens of a prompt, for servers that cannot count them.

use serde_json::Value;

use crate::wire::openai::{ChatContent, ChatMessage, ChatRequest, ContentPart};

/// Bytes of JSON per token. Measured on Claude Code's requests with Qwen3's tokenizer: 76 KB are 18,800 tokens.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens per image: about those of a screenshot. The number of bytes says nothing about it.
const TOKENS_PER_IMAGE: u64 = 1_000;

/// The prompt's tokens, estimated from its length alone.
pub fn estimated_tokens(request: &ChatRequest) -> u64 {
    let (mut bytes, mut images) = (0, 0);
    for message in &request.messages {
        match message {
            ChatMessage::User { content: ChatContent::Parts(parts), .. } => {
                for part in parts {
                    match part {
                        ContentPart::Text { text, .. } => bytes += text.len() as u64,
                        _ => images += 1,
                    }
                }
            }
            other => bytes += json_bytes(serde_json::to_value(other).unwrap_or(Value::Null)),
        }
    }
    bytes += json_bytes(serde_json::to_value(&request.tools).unwrap_or(Value::Null));
    bytes.div_ceil(BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE
}

fn json_bytes(value: Value) -> u64 {
    value.to_string().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_counts_by_its_length_and_an_image_by_the_piece() {
        let tokens = |content: Value| {
            let request = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
            estimated_tokens(&serde_json::from_value(request).unwrap())
        };
        let text = json!({"type": "text", "text": "x".repeat(4_000)});
        let image = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(50_000))}});
        assert_eq!(tokens(json!([text])), 1_001);
        assert_eq!(tokens(json!([text, image])), 2_001);
        assert!(tokens(json!("x".repeat(4_000))) >= 1_000);
    }
}
