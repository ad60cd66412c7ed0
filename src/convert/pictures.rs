//! Taking the pictures out of a chat request, for a server that refuses them.

use super::conversation::joined;
use crate::wire::openai::{ChatContent, ChatMessage, ChatRequest, ContentPart};

/// What the model is told in place of a picture.
pub(super) const NOT_SHOWN: &str = "[image left out: this model's server cannot be shown it]";

/// Puts a note to the model in place of each picture. Returns whether there was one.
pub fn leave_out_pictures(request: &mut ChatRequest) -> bool {
    let mut found = false;
    for message in &mut request.messages {
        let ChatMessage::User { content, .. } = message else { continue };
        let ChatContent::Parts(parts) = content else { continue };
        for part in parts.iter_mut().filter(|part| matches!(part, ContentPart::ImageUrl { .. })) {
            *part = ContentPart::text(NOT_SHOWN);
            found = true;
        }
        *content = joined(std::mem::take(parts));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pictures_become_notes_and_text_alone_becomes_one_text() {
        let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}});
        let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}});
        let chat = |parts: [&serde_json::Value; 2]| json!({"messages": [{"role": "user", "content": parts}]});
        let without = |parts| {
            let mut request: ChatRequest = serde_json::from_value(chat(parts)).unwrap();
            let found = leave_out_pictures(&mut request);
            (found, serde_json::to_value(&request).unwrap()["messages"][0]["content"].clone())
        };
        let text = json!({"type": "text", "text": "See:"});
        assert_eq!(without([&text, &picture]), (true, json!(format!("See:\n\n{NOT_SHOWN}"))));
        assert_eq!(without([&file, &picture]), (true, json!([file, {"type": "text", "text": NOT_SHOWN}])));
        assert_eq!(without([&text, &file]), (false, json!([text, file])));
    }
}
