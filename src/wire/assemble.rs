//! Assembling a stream of events into the message they describe.

use serde_json::{Map, Value};

use super::{BlockDelta, ContentBlock, Message, StreamEvent};

/// How a stream broke the protocol.
#[allow(missing_docs, reason = "each variant's text says what it is")]
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AssembleError {
    #[error("{event} before message_start")]
    NotStarted { event: String },
    #[error("{event} for block {index}, which is not open")]
    BlockNotOpen { event: &'static str, index: usize },
    #[error("block {index} started while block {expected} was due")]
    BlockOutOfOrder { index: usize, expected: usize },
    #[error("the arguments of tool call {name} are not JSON: {reason}")]
    BadInput { name: String, reason: String },
    #[error("the stream ended without message_stop")]
    NoStop,
}

/// Builds a message from the events of a stream, pushed in order.
///
/// The arguments of a tool call that `max_tokens` cut end in the middle. Its `input` is then a string with the text so far: not
/// an object, so that nobody takes it for a finished call.
///
/// ```
/// use anyclaude::wire::{Assembler, BlockDelta, ContentBlock, Message, StopReason, StreamEvent, Usage};
///
/// let mut assembler = Assembler::default();
/// for event in [
///     StreamEvent::MessageStart { message: Message::empty("msg_1", "m", Usage::default()) },
///     StreamEvent::ContentBlockStart { index: 0, content_block: ContentBlock::text("") },
///     StreamEvent::ContentBlockDelta { index: 0, delta: BlockDelta::text("Hello") },
///     StreamEvent::ContentBlockStop { index: 0 },
///     StreamEvent::message_delta(StopReason::EndTurn, None, &Usage::default()),
///     StreamEvent::MessageStop,
/// ] {
///     assembler.push(&event)?;
/// }
/// let message = assembler.finish()?;
/// assert_eq!(message.content, [ContentBlock::text("Hello")]);
/// assert_eq!(message.stop_reason, Some(StopReason::EndTurn));
/// # Ok::<(), anyclaude::wire::AssembleError>(())
/// ```
#[derive(Debug, Default)]
pub struct Assembler {
    /// `None` before `message_start`.
    message: Option<Message>,
    /// The index of the open content block.
    open: Option<usize>,
    /// The open tool call's arguments so far, as JSON text.
    json: String,
    /// The first tool call whose arguments are no JSON object. Whether that is a mistake shows when the answer says why it
    /// stopped.
    unfinished: Option<AssembleError>,
    /// Whether `message_stop` has come.
    stopped: bool,
}

impl Assembler {
    /// Adds one event.
    ///
    /// # Errors
    /// The event breaks the protocol. The message stays as it was before the event.
    pub fn push(&mut self, event: &StreamEvent) -> Result<(), AssembleError> {
        match event {
            StreamEvent::MessageStart { message } => self.message = Some(message.clone()),
            StreamEvent::ContentBlockStart { index, content_block } => {
                let message = started(&mut self.message, event)?;
                if self.open.is_some() || *index != message.content.len() {
                    return Err(AssembleError::BlockOutOfOrder { index: *index, expected: message.content.len() });
                }
                message.content.push(content_block.clone());
                self.open = Some(*index);
                self.json.clear();
            }
            StreamEvent::ContentBlockDelta { index, delta } => {
                let message = started(&mut self.message, event)?;
                let block = (self.open == Some(*index)).then(|| message.content.last_mut()).flatten();
                let block = block.ok_or(AssembleError::BlockNotOpen { event: "content_block_delta", index: *index })?;
                match (block, delta) {
                    (ContentBlock::Text { text, logprobs, .. }, BlockDelta::TextDelta { text: more, logprobs: theirs }) => {
                        text.push_str(more);
                        logprobs.extend_from_slice(theirs);
                    }
                    (ContentBlock::Thinking { thinking, .. }, BlockDelta::ThinkingDelta { thinking: more }) => {
                        thinking.push_str(more)
                    }
                    (ContentBlock::Thinking { signature, .. }, BlockDelta::SignatureDelta { signature: more }) => {
                        signature.push_str(more)
                    }
                    (ContentBlock::ToolUse { .. } | ContentBlock::Other(_), BlockDelta::InputJsonDelta { partial_json }) => {
                        self.json.push_str(partial_json)
                    }
                    _ => {}
                }
            }
            StreamEvent::ContentBlockStop { index } => {
                let message = started(&mut self.message, event)?;
                if self.open.take() != Some(*index) {
                    return Err(AssembleError::BlockNotOpen { event: "content_block_stop", index: *index });
                }
                // Calls that a server runs itself come in the same way.
                if let Some(ContentBlock::Other(fields)) = message.content.last_mut()
                    && let Ok(input) = super::from_json(self.json.as_bytes())
                {
                    fields.insert("input".into(), input);
                }
                if let Some(ContentBlock::ToolUse { name, input, .. }) = message.content.last_mut()
                    && !self.json.is_empty()
                {
                    *input = match super::from_json(self.json.as_bytes()) {
                        Ok(finished) => finished,
                        Err(error) => {
                            let bad_input = AssembleError::BadInput { name: name.clone(), reason: error.to_string() };
                            self.unfinished.get_or_insert(bad_input);
                            Value::String(std::mem::take(&mut self.json))
                        }
                    };
                }
            }
            StreamEvent::MessageDelta { delta, usage, .. } => {
                let message = started(&mut self.message, event)?;
                message.stop_reason.clone_from(&delta.stop_reason);
                message.stop_sequence.clone_from(&delta.stop_sequence);
                message.usage.merge(usage);
            }
            StreamEvent::MessageStop => self.stopped = true,
            StreamEvent::Ping | StreamEvent::Error { .. } | StreamEvent::Other(_) => {}
        }
        Ok(())
    }

    /// Whether the stream has ended with `message_stop`.
    pub fn is_complete(&self) -> bool {
        self.stopped && self.message.is_some()
    }

    /// The message so far, `None` before `message_start`. A tool call that is cut off keeps its empty input.
    pub fn into_partial(self) -> Option<Message> {
        self.message
    }

    /// The whole message.
    ///
    /// # Errors
    /// The stream ended early, or an answer that was neither cut nor refused has a tool call whose arguments are no JSON.
    pub fn finish(self) -> Result<Message, AssembleError> {
        let mut message = self.message.filter(|_| self.stopped).ok_or(AssembleError::NoStop)?;
        let is_cut = message.stop_reason.as_ref().is_some_and(|reason| reason.cuts() || reason.is_refusal());
        if let Some(ContentBlock::ToolUse { input, .. }) = message.content.last_mut()
            && is_cut
            && self.json.is_empty()
            && input.as_object().is_some_and(Map::is_empty)
        {
            // A call that was cut before its first argument is not one without arguments.
            *input = Value::String(String::new());
        }
        match self.unfinished {
            Some(error) if !is_cut => Err(error),
            _ => Ok(message),
        }
    }
}

fn started<'a>(message: &'a mut Option<Message>, event: &StreamEvent) -> Result<&'a mut Message, AssembleError> {
    message.as_mut().ok_or_else(|| AssembleError::NotStarted { event: event.name().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assemble(events: &[Value]) -> Result<Message, AssembleError> {
        let mut assembler = Assembler::default();
        for event in events {
            assembler.push(&serde_json::from_value(event.clone()).unwrap())?;
        }
        assembler.finish()
    }

    fn start() -> Value {
        json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],
               "stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}})
    }

    fn end(reason: &str) -> [Value; 2] {
        [
            json!({"type":"message_delta","delta":{"stop_reason":reason,"stop_sequence":null},"usage":{"output_tokens":9}}),
            json!({"type":"message_stop"}),
        ]
    }

    #[test]
    fn text_and_tool_use_are_assembled_in_order() {
        let [delta, stop] = end("tool_use");
        let message = assemble(&[
            start(),
            json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}),
            json!({"type":"ping"}),
            json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Let me "}}),
            json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"look."}}),
            json!({"type":"content_block_stop","index":0}),
            json!({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"Read","input":{}}}),
            json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"path\":\"a"}}),
            json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":".txt\"}"}}),
            json!({"type":"content_block_stop","index":1}),
            delta,
            stop,
        ])
        .unwrap();
        assert_eq!(
            serde_json::to_value(&message.content).unwrap(),
            json!([{"type":"text","text":"Let me look."},{"type":"tool_use","id":"toolu_1","name":"Read","input":{"path":"a.txt"}}])
        );
        assert_eq!((message.usage.input_tokens, message.usage.output_tokens), (7, 9));
    }

    #[test]
    fn no_argument_pieces_mean_an_empty_object() {
        let [delta, stop] = end("tool_use");
        let block =
            json!({"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"List","input":{}}});
        let message = assemble(&[start(), block, json!({"type":"content_block_stop","index":0}), delta, stop]).unwrap();
        assert_eq!(serde_json::to_value(&message.content[0]).unwrap()["input"], json!({}));
    }

    #[test]
    fn arguments_that_were_cut_are_text_and_malformed_ones_an_error() {
        let call = |reason: &str| {
            let [delta, stop] = end(reason);
            let block = json!({"type":"tool_use","id":"t","name":"Bash","input":{}});
            assemble(&[
                start(),
                json!({"type":"content_block_start","index":0,"content_block":block}),
                json!({"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"command\": \"rm -rf /"}}),
                json!({"type":"content_block_stop","index":0}),
                delta,
                stop,
            ])
        };
        for reason in ["max_tokens", "model_context_window_exceeded", "refusal"] {
            let content = serde_json::to_value(call(reason).unwrap().content).unwrap();
            assert_eq!(content[0]["input"], json!("{\"command\": \"rm -rf /"));
        }
        assert!(matches!(call("tool_use"), Err(AssembleError::BadInput { name, .. }) if name == "Bash"));
    }

    #[test]
    fn a_delta_for_a_block_that_is_not_open_is_an_error() {
        let delta = json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}});
        assert_eq!(assemble(&[start(), delta]), Err(AssembleError::BlockNotOpen { event: "content_block_delta", index: 0 }));
    }

    #[test]
    fn a_stream_without_message_stop_is_an_error() {
        assert_eq!(assemble(&[start()]), Err(AssembleError::NoStop));
    }

    #[test]
    fn an_unknown_event_is_kept_verbatim() {
        let event: StreamEvent = serde_json::from_value(json!({"type":"future_thing","x":1})).unwrap();
        assert_eq!((event.name(), serde_json::to_value(&event).unwrap()), ("future_thing", json!({"type":"future_thing","x":1})));
    }
}
