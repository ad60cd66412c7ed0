//! The outcome and usage of an answer from its events. Pure.

use serde_json::Value;

use crate::snapshot::Outcome;
use crate::wire::{AssembleError, Assembler, BlockDelta, StopReason, StreamEvent, Usage};

/// Collects the events of one answer.
#[derive(Debug, Default)]
pub(super) struct OutcomeBuilder {
    assembler: Assembler,
    /// The arguments of the latest tool call so far, as text.
    arguments: String,
    /// The error if a tool call's arguments are no JSON.
    bad_input: Option<AssembleError>,
}

impl OutcomeBuilder {
    /// Takes in the next event.
    pub fn event(&mut self, event: &StreamEvent) -> Result<(), AssembleError> {
        match event {
            StreamEvent::ContentBlockStart { .. } => self.arguments.clear(),
            StreamEvent::ContentBlockDelta { delta: BlockDelta::InputJsonDelta { partial_json }, .. } => {
                self.arguments.push_str(partial_json)
            }
            _ => {}
        }
        match self.assembler.push(event) {
            // Arguments may have been cut off by `max_tokens`, which only shows when the answer says why it stopped.
            Err(error @ AssembleError::BadInput { .. }) if self.bad_input.is_none() => self.bad_input = Some(error),
            other => other?,
        }
        Ok(())
    }

    /// The outcome and usage of the whole answer. A tool call that `max_tokens` cut off keeps its unfinished arguments as a string,
    /// so that they are compared too.
    pub fn finish(self) -> Result<(Outcome, Usage), AssembleError> {
        let message = self.assembler.finish()?;
        let mut outcome = Outcome::from(&message);
        match (self.bad_input, outcome.tool_use.last_mut()) {
            (Some(_), Some(call)) if message.stop_reason == Some(StopReason::MaxTokens) => {
                call.input = Value::String(self.arguments)
            }
            (Some(error), _) => return Err(error),
            (None, _) => {}
        }
        Ok((outcome, message.usage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The arguments of an answer that calls Read, from the parts in which they arrived.
    fn arguments(parts: &[&str], stop_reason: &str) -> Result<Value, AssembleError> {
        let message = json!({"id": "m", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 5, "output_tokens": 0}});
        let mut events = vec![
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "Read", "input": {}}}),
        ];
        events.extend(parts.iter().map(|part| {
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}})
        }));
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ]);
        let mut builder = OutcomeBuilder::default();
        for event in events {
            builder.event(&serde_json::from_value(event).unwrap())?;
        }
        let (outcome, usage) = builder.finish()?;
        assert_eq!((usage.input_tokens, usage.output_tokens), (5, 9));
        Ok(outcome.tool_use[0].input.clone())
    }

    #[test]
    fn whole_arguments_are_json_and_cut_off_ones_are_text() {
        assert_eq!(arguments(&["{\"a\"", ": 1}"], "tool_use"), Ok(json!({"a": 1})));
        assert_eq!(arguments(&[], "tool_use"), Ok(json!({})));
        assert_eq!(arguments(&["{\"a\"", ": "], "max_tokens"), Ok(json!("{\"a\": ")));
        assert!(matches!(arguments(&["{\"a\"", ": "], "tool_use"), Err(AssembleError::BadInput { .. })));
    }
}
