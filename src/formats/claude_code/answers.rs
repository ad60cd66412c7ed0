//! The answers of a transcript, put together from a line for each of their blocks.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::canonical::into_blocks;
use super::line::AssistantLine;
use crate::trace::{ExchangeOutcome, RecordedResponse};

/// Who Claude Code says has written what it wrote itself.
const NOBODY: &str = "<synthetic>";

/// The answers so far, by their request's id.
#[derive(Default)]
pub(super) struct Answers(HashMap<String, Answer>);

#[derive(Default)]
struct Answer {
    /// The message without its content, as the last line has it.
    message: Map<String, Value>,
    /// The blocks, each with its place.
    blocks: Vec<(usize, Value)>,
    /// Whether there are blocks of which no place is said. They are left out.
    has_unplaced: bool,
    request_id: Option<String>,
}

/// An answer as far as the transcript holds it.
pub(super) struct FoundAnswer {
    pub response: RecordedResponse,
    pub outcome: ExchangeOutcome,
    /// What it lacks.
    pub missing: Option<&'static str>,
}

impl Answers {
    /// Adds a block, unless Claude Code wrote it itself or it is not said which request it answers.
    pub(super) fn add(&mut self, line: AssistantLine) {
        let AssistantLine { mut message, request_ref: Some(request), request_id, api_block_index, is_api_error_message } = line
        else {
            return;
        };
        if is_api_error_message || message.get("model").is_some_and(|model| model == NOBODY) {
            return;
        }
        let answer = self.0.entry(request).or_default();
        if let Some(content) = message.remove("content").filter(|content| !content.is_null()) {
            for (at, block) in into_blocks(content).into_iter().enumerate() {
                match api_block_index.and_then(|first| first.checked_add(at)) {
                    Some(place) => answer.blocks.push((place, block)),
                    None => answer.has_unplaced = true,
                }
            }
        }
        answer.message = message;
        answer.request_id = request_id.or(answer.request_id.take());
    }

    /// Takes the answer to a request.
    pub(super) fn take(&mut self, request: &str) -> FoundAnswer {
        let Some(Answer { message, mut blocks, has_unplaced, request_id }) = self.0.remove(request) else {
            let response = RecordedResponse { status: 0, headers: Map::new(), events: Vec::new(), body: Value::Null };
            return FoundAnswer { response, outcome: ExchangeOutcome::Truncated, missing: Some("the answer") };
        };
        blocks.sort_by_key(|(index, _)| *index);
        let has_gap = has_unplaced || blocks.iter().enumerate().any(|(at, (index, _))| at != *index);
        let ended = message.get("stop_reason").is_some_and(Value::is_string);
        let missing = match (has_gap, ended) {
            (true, _) => Some("blocks of the answer"),
            (false, false) => Some("the answer's end"),
            (false, true) => None,
        };
        let outcome = if missing.is_none() { ExchangeOutcome::Complete } else { ExchangeOutcome::Truncated };
        let response = RecordedResponse {
            // Only an answer with this status becomes a message.
            status: 200,
            headers: request_id.map(|id| ("request-id".to_owned(), id.into())).into_iter().collect(),
            events: Vec::new(),
            body: with_content(message, blocks.into_iter().map(|(_, block)| block).collect()),
        };
        FoundAnswer { response, outcome, missing }
    }
}

/// The message with its content where the protocol has it.
fn with_content(message: Map<String, Value>, content: Vec<Value>) -> Value {
    let mut whole = Map::new();
    for key in ["id", "type", "role", "model"] {
        if let Some(value) = message.get(key) {
            whole.insert(key.to_owned(), value.clone());
        }
    }
    whole.insert("content".to_owned(), json!(content));
    for (key, value) in message {
        whole.entry(key).or_insert(value);
    }
    Value::Object(whole)
}
