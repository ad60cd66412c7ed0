//! OpenAI's JSONL of conversations: what fine-tuning and evaluations of chat models read.

use serde_json::{Map, Value, json};

use super::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::convert::{Dialect, to_chat};
use crate::trace::{ExchangeOutcome, Trace, messages_request, recorded_message};
use crate::wire::{Content, InputMessage, Role};

/// The exporter.
pub(super) struct OpenAi;

impl Exporter for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn title(&self) -> &'static str {
        "OpenAI's JSONL, a conversation with its tools and answer in each line"
    }

    fn frame(&self) -> Frame {
        Frame::LINES
    }

    fn leaves_out(&self) -> &'static str {
        "have no whole answer in Anthropic's protocol"
    }

    fn begin<'a>(&'a self, _: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        Box::new(line)
    }
}

fn line(trace: &Trace) -> Option<Value> {
    let mut request = messages_request(trace)?;
    let answer = recorded_message(trace).filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
    let answer = InputMessage { role: Role::Assistant, content: Content::Blocks(answer.content), extra: Map::new() };
    request.messages.push(answer);
    let chat = to_chat(&request, &request.model, Dialect::OpenAi).request;
    let mut line = json!({"messages": chat.messages});
    if !chat.tools.is_empty() {
        line["tools"] = json!(chat.tools);
    }
    Some(line)
}
