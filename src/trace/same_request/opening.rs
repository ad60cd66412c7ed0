//! What the requests of one conversation have in common.

use serde_json::{Value, json};

use super::clean::clean_item;
use crate::trace::{AGENT_HEADER, Trace};

/// What all Messages requests of a conversation have in common, and one that the client makes beside it has not: who asked,
/// whether there are tools, and the first message. Which tools there are changes in the middle of a conversation, as servers of
/// tools come and go.
pub fn conversation_opening(trace: &Trace) -> Value {
    let body = &trace.request.body;
    let has_tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    let mut first = body["messages"][0].clone();
    clean_item("messages", &mut first, &mut |_| ());
    json!([trace.request.headers.get(AGENT_HEADER), has_tools, first])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::outline::tests::trace;

    #[test]
    fn a_conversation_opens_alike_however_its_requests_are_written() {
        let opening = |body: Value| conversation_opening(&serde_json::from_value(trace(body)).unwrap());
        let tools = json!([{"name": "Read"}]);
        let first = opening(json!({"tools": tools, "messages": [{"role": "user", "content": "Hi"}]}));
        let block = json!({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}});
        let more = json!([{"role": "user", "content": [block]}, {"role": "assistant", "content": "Hello"}]);
        assert_eq!(opening(json!({"tools": tools, "messages": more, "max_tokens": 9})), first);
        for other in [json!({"messages": more}), json!({"tools": tools, "messages": [{"role": "user", "content": "Ho"}]})] {
            assert_ne!(opening(other), first);
        }
    }
}
