//! Whether the body of a request is what its path asks for.

use serde::Deserialize;
use serde_json::Value;

use crate::trace::Trace;
use crate::trace::body::{read_body, read_messages_request};
use crate::wire::Endpoint;

/// What is wrong with the body of a request that was answered. One that is wrong is answered with an error.
pub(super) fn problem_of(trace: &Trace) -> Option<String> {
    // 0: nobody answered.
    if trace.response.status == 0 || trace.response.status >= 400 {
        return None;
    }
    let body = &trace.request.body;
    let fault = match Endpoint::of_path(&trace.request.path) {
        Endpoint::Messages => read_messages_request(body).err(),
        Endpoint::ChatCompletions => read_body::<ChatOutline>(body).err(),
        Endpoint::Completions => read_body::<CompletionOutline>(body).err(),
        Endpoint::Responses => read_body::<ResponseOutline>(body).err(),
        Endpoint::CountTokens | Endpoint::Other => None,
    };
    fault.map(|fault| format!("request.body{fault}"))
}

/// What every server asks of a chat request. Beyond it they differ.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only their presence counts")]
struct ChatOutline {
    messages: Vec<Value>,
}

/// What every server asks of a text to be continued.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only their presence counts")]
struct CompletionOutline {
    prompt: Value,
}

/// What every server asks of a request to the Responses API: an object. Its input may be stored elsewhere.
#[derive(Deserialize)]
struct ResponseOutline {}
