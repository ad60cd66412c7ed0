//! From the engine's events to the protocol's.

use futures::StreamExt;
use futures::future::BoxFuture;

use super::blocks::{Blocks, random_id};
use super::marks::Marks;
use crate::backend::{BackendError, EventStream};
use crate::engine::{EngineEvent, EventReceiver, Finished, Stop};
use crate::wire::{ErrorKind, Message, StopReason, StreamEvent, Usage};

/// What an answer's events need of its request.
pub struct Answer {
    /// The name the client asked for, which it wants to see again.
    pub model: String,
    /// Where the client marked the prompt for caching, in tokens: known when the answer begins.
    pub marks: BoxFuture<'static, Result<Marks<usize>, BackendError>>,
}

impl Answer {
    /// The answer as a client sees it. Dropping it cancels the generation.
    pub fn stream(self, mut events: EventReceiver) -> EventStream {
        let stream = async_stream::stream! {
            let mut blocks = Blocks::default();
            let mut usage = Usage::default();
            let mut marks = Some(self.marks);
            while let Some(event) = events.recv().await {
                match event {
                    Ok(EngineEvent::Started { prompt_tokens, cached_tokens }) => {
                        // It starts once.
                        let Some(marks) = marks.take() else { continue };
                        usage = match marks.await {
                            Ok(marks) => marks.usage(prompt_tokens, cached_tokens),
                            Err(error) => {
                                yield Err(error);
                                return;
                            }
                        };
                        let message = Message::empty(random_id("msg_"), &self.model, usage.clone());
                        yield Ok(StreamEvent::MessageStart { message });
                    }
                    Ok(EngineEvent::Piece(piece)) => {
                        for event in blocks.push(piece) {
                            yield Ok(event);
                        }
                    }
                    Ok(EngineEvent::Finished(finished)) => {
                        for event in ending(&mut blocks, usage, finished) {
                            yield Ok(event);
                        }
                        return;
                    }
                    Err(error) => {
                        yield Err(error.into());
                        return;
                    }
                }
            }
            yield Err(BackendError::new(ErrorKind::Api, "engine: its thread ended during the answer"));
        };
        stream.boxed()
    }
}

/// The last events of a complete answer.
fn ending(blocks: &mut Blocks, usage: Usage, finished: Finished) -> Vec<StreamEvent> {
    let Finished { stop, called_tool, output_tokens, prefill, decode } = finished;
    tracing::info!(?stop, output_tokens, ?prefill, ?decode, "answered");
    let (reason, sequence) = match stop {
        Stop::End if called_tool => (StopReason::ToolUse, None),
        Stop::End => (StopReason::EndTurn, None),
        Stop::MaxTokens => (StopReason::MaxTokens, None),
        Stop::Sequence(text) => (StopReason::StopSequence, Some(text)),
    };
    let usage = Usage { output_tokens: output_tokens as u64, ..usage };
    let mut events = blocks.finish();
    events.extend([StreamEvent::message_delta(reason, sequence, &usage), StreamEvent::MessageStop]);
    events
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::ready;

    use super::*;
    use crate::engine::EngineError;
    use crate::engine::decode::Piece;
    use crate::wire::{Assembler, ContentBlock};
    use serde_json::json;

    fn started() -> Result<EngineEvent, EngineError> {
        Ok(EngineEvent::Started { prompt_tokens: 100, cached_tokens: 60 })
    }

    fn finished(stop: Stop, called_tool: bool) -> Result<EngineEvent, EngineError> {
        let (prefill, decode) = (Duration::ZERO, Duration::ZERO);
        Ok(EngineEvent::Finished(Finished { stop, called_tool, output_tokens: 7, prefill, decode }))
    }

    /// What a client sees when the engine tells `events` and then goes away.
    async fn seen(events: Vec<Result<EngineEvent, EngineError>>) -> Vec<Result<StreamEvent, BackendError>> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        events.into_iter().for_each(|event| sender.send(event).unwrap());
        drop(sender);
        Answer { model: "claude-x".into(), marks: ready(Ok(Marks::default())).boxed() }.stream(receiver).collect().await
    }

    async fn message(events: Vec<Result<EngineEvent, EngineError>>) -> Message {
        let mut assembler = Assembler::default();
        for event in seen(events).await {
            assembler.push(&event.unwrap()).unwrap();
        }
        assembler.finish().unwrap()
    }

    #[tokio::test]
    async fn engine_events_become_a_message() {
        let pieces = [
            Piece::Text("Let me look.".into()),
            Piece::ToolStart { name: "Read".into() },
            Piece::ToolInput("{\"path\":".into()),
            Piece::ToolInput("\"a\"}".into()),
            Piece::ToolEnd,
        ];
        let mut events = vec![started()];
        events.extend(pieces.map(|piece| Ok(EngineEvent::Piece(piece))));
        events.push(finished(Stop::End, true));
        let message = message(events).await;
        assert!(message.id.starts_with("msg_") && message.model == "claude-x");
        assert_eq!(message.content[0], ContentBlock::text("Let me look."));
        let ContentBlock::ToolUse { name, input, .. } = &message.content[1] else { panic!("{message:?}") };
        assert_eq!((name.as_str(), input), ("Read", &json!({"path": "a"})));
        assert_eq!((message.usage.prompt_tokens(), message.usage.output_tokens), (100, 7));
    }

    #[tokio::test]
    async fn why_it_stopped_is_told() {
        let cases = [
            (Stop::End, false, StopReason::EndTurn, None),
            (Stop::End, true, StopReason::ToolUse, None),
            (Stop::MaxTokens, true, StopReason::MaxTokens, None),
            (Stop::Sequence("END".into()), false, StopReason::StopSequence, Some("END".to_string())),
        ];
        for (stop, called_tool, reason, sequence) in cases {
            let message = message(vec![started(), finished(stop, called_tool)]).await;
            assert_eq!((message.stop_reason, message.stop_sequence), (Some(reason), sequence));
        }
    }

    #[tokio::test]
    async fn a_failure_is_the_streams_last_item() {
        let failed = seen(vec![started(), Err(EngineError::Device("out of memory".into()))]).await;
        let gone = seen(vec![started()]).await;
        let last = |events: &[Result<StreamEvent, BackendError>]| match events {
            [Ok(StreamEvent::MessageStart { .. }), Err(error)] => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(last(&failed), "api_error: engine: out of memory");
        assert_eq!(last(&gone), "api_error: engine: its thread ended during the answer");
    }
}
