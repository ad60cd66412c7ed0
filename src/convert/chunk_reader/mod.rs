//! Reading chat chunks as the events of a Messages stream.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::content_queue::ContentQueue;
use super::written_markup::{Begins, Written, WrittenMarkup};
use super::{error_body, usage};
use crate::wire::openai::{ChatChunk, ChatError, ChatUsage, ChunkChoice};
use crate::wire::{
    Content, ContentBlock, ErrorBody, ErrorKind, Message, MessagesRequest, StopReason, StreamEvent, ToolChoice, Usage, random_id,
};

/// Reads the chunks of one answer.
///
/// Whatever the chunks are, the events are a well-formed Messages stream: `message_start`, content blocks one at a time, then
/// `message_delta` and `message_stop`, or one `error` at any point; nothing after that.
#[derive(Debug)]
pub struct ChunkReader {
    /// The model's name as the client wrote it: clients expect to see it again.
    model: String,
    content: ContentQueue,
    markup: WrittenMarkup,
    usage: Option<ChatUsage>,
    finish_reason: Option<String>,
    stage: StreamStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamStage {
    /// `message_start` is not written yet.
    Waiting,
    Started,
    Ended,
}

impl ChunkReader {
    /// A reader for the answer to this request.
    pub fn new(request: &MessagesRequest) -> Self {
        let tools = match request.tool_choice {
            // No call is allowed, so text that looks like one stays text.
            Some(ToolChoice::None) => vec![],
            _ => request.after_tool_changes(request.tools.clone()),
        };
        let names = tools.iter().map(|tool| tool.name.clone()).collect();
        Self {
            model: request.model.clone(),
            content: ContentQueue::new(call_ids(request), names),
            markup: WrittenMarkup::new(tools),
            usage: None,
            finish_reason: None,
            stage: StreamStage::Waiting,
        }
    }

    /// The reader for an answer of a model whose prompts open the thoughts at their end.
    pub fn beginning_in_thoughts(self) -> Self {
        Self { markup: self.markup.beginning(Begins::Thoughts), ..self }
    }

    /// Whether the answer has ended thoughts that it had not begun: the prompt has opened them.
    pub fn ended_unbegun_thoughts(&self) -> bool {
        self.markup.ended_unbegun_thoughts()
    }

    /// The events for one chunk. An error in the chunk ends the answer.
    pub fn push(&mut self, chunk: ChatChunk) -> Vec<StreamEvent> {
        if self.stage == StreamStage::Ended {
            return Vec::new();
        }
        self.usage = chunk.usage.or(self.usage.take());
        if let Some(error) = chunk.error {
            return self.fail(error_body(&error, None));
        }
        let mut events = self.start();
        // We never ask for alternatives, which would have other indices.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.choice(choice);
        }
        if self.finish_reason.as_deref() == Some("error") {
            return events.into_iter().chain(self.fail(error_body(&ChatError::default(), None))).collect();
        }
        events.extend(self.content.advance());
        events
    }

    /// The last events, after the server's `[DONE]`.
    pub fn done(&mut self) -> Vec<StreamEvent> {
        if self.stage == StreamStage::Ended {
            return Vec::new();
        }
        let mut events = self.start();
        let written = self.markup.finish();
        self.write(written);
        // An answer that `length` has cut may have been cut in its thoughts, so they stay thoughts.
        if self.finish_reason.as_deref() != Some("length") {
            let answer = self.markup.answer_after_all();
            self.write(answer);
        }
        events.extend(self.content.finish());
        let usage = self.usage.as_ref().map(usage::from_chat).unwrap_or_default();
        events.push(StreamEvent::message_delta(self.stop_reason(), None, &usage));
        events.push(StreamEvent::MessageStop);
        self.stage = StreamStage::Ended;
        events
    }

    /// Whether the server has reported its token counts. If it never does, the final usage is zero.
    pub fn has_usage(&self) -> bool {
        self.usage.is_some()
    }

    /// The server's `finish_reason`, once it has come.
    pub fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref()
    }

    /// The last events, after the connection ended without `[DONE]`. That is an error unless a `finish_reason` came before: some
    /// servers end their streams so.
    pub fn cut_off(&mut self) -> Vec<StreamEvent> {
        if self.finish_reason.is_some() {
            return self.done();
        }
        self.fail(ErrorBody::new(ErrorKind::Api, "the model's answer ended in the middle"))
    }

    /// Ends the answer early. The events close the open block; the caller reports the error.
    pub fn abort(&mut self) -> Vec<StreamEvent> {
        match std::mem::replace(&mut self.stage, StreamStage::Ended) {
            StreamStage::Started => self.rest(),
            StreamStage::Waiting | StreamStage::Ended => Vec::new(),
        }
    }

    /// The events for what is held back, when nothing more comes.
    fn rest(&mut self) -> Vec<StreamEvent> {
        let written = self.markup.finish();
        self.write(written);
        self.content.finish()
    }

    fn fail(&mut self, body: ErrorBody) -> Vec<StreamEvent> {
        if self.stage == StreamStage::Ended {
            return Vec::new();
        }
        let mut events = self.abort();
        events.push(StreamEvent::Error { body });
        events
    }

    fn start(&mut self) -> Vec<StreamEvent> {
        if self.stage != StreamStage::Waiting {
            return Vec::new();
        }
        self.stage = StreamStage::Started;
        let message = Message::empty(random_id("msg_"), &self.model, Usage::default());
        vec![StreamEvent::MessageStart { message }]
    }

    fn choice(&mut self, choice: ChunkChoice) {
        let ChunkChoice { delta, finish_reason, .. } = choice;
        // Some servers send the same text under both names.
        let thinking = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
        if !thinking.is_empty() {
            self.markup.thoughts_are_apart();
        }
        self.content.thinking(&thinking);
        let mut written = self.markup.push(delta.content.as_deref().unwrap_or(""));
        let refusal = delta.refusal.unwrap_or_default();
        if !delta.tool_calls.is_empty() || !refusal.is_empty() {
            // In the order in which the model wrote.
            written.extend(self.markup.interrupt());
        }
        self.write(written);
        self.content.text(&refusal);
        for piece in &delta.tool_calls {
            self.content.call(piece);
        }
        self.finish_reason = finish_reason.or(self.finish_reason.take());
    }

    fn write(&mut self, parts: Vec<Written>) {
        for part in parts {
            match part {
                Written::Text(text) => self.content.text(&text),
                Written::Thinking(thinking) => self.content.thinking(&thinking),
                Written::Call { name, arguments } => self.content.whole_call(name, arguments),
            }
        }
    }

    /// Clients run tools only if the stop reason is `tool_use`, so an answer with calls has it, whatever the server says. Broken
    /// calls must not be run, so an answer with one counts as cut: clients ask again then.
    fn stop_reason(&self) -> StopReason {
        match self.finish_reason.as_deref() {
            Some("length") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Other(StopReason::REFUSAL.into()),
            _ if !self.content.has_calls() => StopReason::EndTurn,
            finish_reason => match self.content.broken_calls().next() {
                Some(tool) => {
                    tracing::warn!(tool, finish_reason, "a call ended with arguments that are no JSON object: it counts as cut");
                    StopReason::MaxTokens
                }
                None => StopReason::ToolUse,
            },
        }
    }
}

/// The ids of all calls in the conversation.
fn call_ids(request: &MessagesRequest) -> HashSet<String> {
    let blocks = request.messages.iter().filter_map(|message| match &message.content {
        Content::Blocks(blocks) => Some(blocks),
        Content::Text(_) => None,
    });
    let ids = blocks.flatten().filter_map(|block| match block {
        ContentBlock::ToolUse { id, .. } => Some(id.clone()),
        _ => None,
    });
    ids.collect()
}
