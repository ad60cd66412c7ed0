//! Writing the events of a Messages stream as those of a Responses stream, and a message as a whole response.

use serde_json::{Map, Value};

use super::responses_output::{announced, finished, said};
use super::responses_tools::ClientNames;
use super::{PromptField, chat_error};
use crate::wire::openai::responses::{
    IncompleteDetails, InputDetails, NumberedEvent, OutputDetails, OutputItem, OutputPart, ResponseError, ResponseEvent,
    ResponseObject, ResponseStatus, ResponsesUsage,
};
use crate::wire::{BlockDelta, ContentBlock, ErrorBody, Message, StopReason, StreamEvent, TokenLogprob, Usage};

/// The only part of a message or of thoughts.
const CONTENT_INDEX: usize = 0;

/// Writes one response.
#[derive(Debug)]
pub struct ResponseWriter {
    response: ResponseObject,
    names: ClientNames,
    usage: Usage,
    /// What the model is saying. Only what comes next tells whether it was cut.
    open: Option<OpenItem>,
    /// The number of events so far.
    events: u64,
}

/// An item that has not ended.
#[derive(Debug)]
struct OpenItem {
    /// The item as it was announced, without content.
    item: OutputItem,
    /// Its content so far: text, or a call's arguments as JSON.
    said: String,
    /// The log-probabilities of a message's tokens so far.
    logprobs: Vec<TokenLogprob>,
}

impl ResponseWriter {
    /// A writer of the response with this id (`resp_…`), created at this time in seconds since 1970. `settings`: the request's
    /// settings, which the response repeats.
    pub fn new(id: String, created: i64, model: String, settings: Map<String, Value>, names: ClientNames) -> Self {
        let response = ResponseObject {
            id,
            object: "response",
            created_at: created,
            status: ResponseStatus::InProgress,
            error: None,
            incomplete_details: None,
            model,
            output: Vec::new(),
            usage: None,
            settings,
        };
        Self { response, names, usage: Usage::default(), open: None, events: 0 }
    }

    /// The whole response that a message becomes.
    pub fn whole(mut self, message: &Message) -> ResponseObject {
        self.start(message);
        for block in &message.content {
            self.open(block);
            // In the event that starts a call, an empty input says nothing; in a whole message it is what the model said.
            if let (ContentBlock::ToolUse { input: Value::Object(input), .. }, Some(open)) = (block, &mut self.open) {
                open.said = Value::Object(input.clone()).to_string();
            }
        }
        self.end(message.stop_reason.as_ref());
        self.response
    }

    /// The events for one event.
    pub fn push(&mut self, event: &StreamEvent) -> Vec<NumberedEvent> {
        let events = match event {
            StreamEvent::MessageStart { message } => self.start(message),
            StreamEvent::ContentBlockStart { content_block, .. } => self.open(content_block),
            StreamEvent::ContentBlockDelta { delta, .. } => self.piece(delta).into_iter().collect(),
            StreamEvent::MessageDelta { delta, usage, .. } => {
                self.usage.merge(usage);
                self.end(delta.stop_reason.as_ref())
            }
            StreamEvent::MessageStop => vec![self.last()],
            StreamEvent::Error { body } => self.failed(body),
            _ => Vec::new(),
        };
        let first = self.events;
        self.events += events.len() as u64;
        events.into_iter().zip(first..).map(|(event, sequence_number)| NumberedEvent { event, sequence_number }).collect()
    }

    fn start(&mut self, message: &Message) -> Vec<ResponseEvent> {
        self.response.model.clone_from(&message.model);
        self.usage = message.usage.clone();
        self.created()
    }

    /// The events that begin every stream, whatever follows.
    fn created(&self) -> Vec<ResponseEvent> {
        let response = self.response.clone();
        vec![ResponseEvent::Created { response: response.clone() }, ResponseEvent::InProgress { response }]
    }

    /// Ends the item before, and announces the one that a content block becomes.
    fn open(&mut self, block: &ContentBlock) -> Vec<ResponseEvent> {
        let mut events = self.close(false);
        let output_index = self.response.output.len();
        let suffix = self.response.id.strip_prefix("resp_").unwrap_or(&self.response.id);
        let Some(item) = announced(block, &format!("{suffix}_{output_index}"), &self.names) else { return events };
        events.push(ResponseEvent::ItemAdded { output_index, item: item.clone() });
        if let Some(part) = empty_part(&item) {
            events.push(ResponseEvent::PartAdded { item_id: item.id().into(), output_index, content_index: CONTENT_INDEX, part });
        }
        let logprobs = if let ContentBlock::Text { logprobs, .. } = block { logprobs.clone() } else { Vec::new() };
        self.open = Some(OpenItem { item, said: said(block), logprobs });
        events
    }

    fn piece(&mut self, delta: &BlockDelta) -> Option<ResponseEvent> {
        let OpenItem { item, said, logprobs: all } = self.open.as_mut()?;
        let piece = match delta {
            BlockDelta::TextDelta { text: piece, .. }
            | BlockDelta::ThinkingDelta { thinking: piece }
            | BlockDelta::InputJsonDelta { partial_json: piece } => piece,
            BlockDelta::SignatureDelta { .. } | BlockDelta::Other(_) => return None,
        };
        said.push_str(piece);
        if piece.is_empty() {
            return None;
        }
        let (item_id, output_index, content_index) = (item.id().to_owned(), self.response.output.len(), CONTENT_INDEX);
        let logprobs = if let BlockDelta::TextDelta { logprobs, .. } = delta { logprobs.clone() } else { Vec::new() };
        all.extend_from_slice(&logprobs);
        let delta = piece.clone();
        match item {
            OutputItem::Message { .. } => {
                Some(ResponseEvent::TextDelta { item_id, output_index, content_index, delta, logprobs })
            }
            OutputItem::Reasoning { .. } => Some(ResponseEvent::ReasoningDelta { item_id, output_index, content_index, delta }),
            OutputItem::FunctionCall { .. } => Some(ResponseEvent::ArgumentsDelta { item_id, output_index, delta }),
            // The input is inside of the arguments' JSON: it comes whole when the call has ended.
            OutputItem::CustomToolCall { .. } => None,
        }
    }

    /// Ends the open item.
    fn close(&mut self, cut: bool) -> Vec<ResponseEvent> {
        let Some(OpenItem { item, said, logprobs }) = self.open.take() else { return Vec::new() };
        let output_index = self.response.output.len();
        let is_silent = said.is_empty();
        let item = finished(item, said, logprobs, cut);
        let mut events = ends(&item, output_index, is_silent);
        events.push(ResponseEvent::ItemDone { output_index, item: item.clone() });
        self.response.output.push(item);
        events
    }

    /// Ends the last item and the response.
    fn end(&mut self, reason: Option<&StopReason>) -> Vec<ResponseEvent> {
        let incomplete = match reason {
            Some(reason) if reason.cuts() => Some("max_output_tokens"),
            Some(reason) if reason.is_refusal() => Some("content_filter"),
            _ => None,
        };
        let events = self.close(incomplete.is_some());
        self.response.status = if incomplete.is_some() { ResponseStatus::Incomplete } else { ResponseStatus::Completed };
        self.response.incomplete_details = incomplete.map(|reason| IncompleteDetails { reason: reason.into() });
        self.response.usage = Some(usage(&self.usage));
        events
    }

    fn last(&self) -> ResponseEvent {
        let response = self.response.clone();
        match response.status {
            ResponseStatus::Incomplete => ResponseEvent::Incomplete { response },
            _ => ResponseEvent::Completed { response },
        }
    }

    /// The end of a response that an error breaks off. What was open is left out.
    fn failed(&mut self, body: &ErrorBody) -> Vec<ResponseEvent> {
        let mut events = if self.events == 0 { self.created() } else { Vec::new() };
        let error = chat_error(body, PromptField::Input).error;
        let code = error.code.as_ref().and_then(Value::as_str).unwrap_or("server_error").to_owned();
        self.response.status = ResponseStatus::Failed;
        self.response.error = Some(ResponseError { code, message: error.message });
        events.push(ResponseEvent::Failed { response: self.response.clone() });
        events
    }
}

/// The part with which an item begins; none of a call.
fn empty_part(item: &OutputItem) -> Option<OutputPart> {
    match item {
        OutputItem::Message { .. } => {
            Some(OutputPart::OutputText { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() })
        }
        OutputItem::Reasoning { .. } => Some(OutputPart::ReasoningText { text: String::new() }),
        OutputItem::FunctionCall { .. } | OutputItem::CustomToolCall { .. } => None,
    }
}

/// The events that end what an item says, before the one that ends the item. `is_silent`: no piece of it has been sent. Of a call
/// that was cut nothing is done.
fn ends(item: &OutputItem, output_index: usize, is_silent: bool) -> Vec<ResponseEvent> {
    let (item_id, content_index) = (item.id().to_owned(), CONTENT_INDEX);
    match item {
        OutputItem::Message { content, .. } | OutputItem::Reasoning { content, .. } => {
            let ends = content.iter().flat_map(|part| {
                let item_id = item_id.clone();
                let said = match part.clone() {
                    OutputPart::OutputText { text, logprobs, .. } => {
                        ResponseEvent::TextDone { item_id: item_id.clone(), output_index, content_index, text, logprobs }
                    }
                    OutputPart::ReasoningText { text } => {
                        ResponseEvent::ReasoningDone { item_id: item_id.clone(), output_index, content_index, text }
                    }
                };
                [said, ResponseEvent::PartDone { item_id, output_index, content_index, part: part.clone() }]
            });
            ends.collect()
        }
        _ if !item.is_completed() => Vec::new(),
        OutputItem::FunctionCall { name, arguments, .. } => {
            let (name, arguments) = (name.clone(), arguments.clone());
            let delta = arguments.clone();
            let missing = is_silent.then(|| ResponseEvent::ArgumentsDelta { item_id: item_id.clone(), output_index, delta });
            missing.into_iter().chain([ResponseEvent::ArgumentsDone { item_id, output_index, name, arguments }]).collect()
        }
        OutputItem::CustomToolCall { input, .. } => vec![
            ResponseEvent::InputDelta { item_id: item_id.clone(), output_index, delta: input.clone() },
            ResponseEvent::InputDone { item_id, output_index, input: input.clone() },
        ],
    }
}

fn usage(usage: &Usage) -> ResponsesUsage {
    ResponsesUsage {
        input_tokens: usage.prompt_tokens(),
        input_tokens_details: InputDetails { cached_tokens: usage.cache_read_input_tokens.unwrap_or(0) },
        output_tokens: usage.output_tokens,
        output_tokens_details: OutputDetails { reasoning_tokens: 0 },
        total_tokens: usage.prompt_tokens().saturating_add(usage.output_tokens),
    }
}

#[cfg(test)]
mod tests;
