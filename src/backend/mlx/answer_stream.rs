//! Converting the engine's events to the protocol's.

use futures::future::BoxFuture;

use super::admission::ClientEvents;
use super::breakpoints::CacheBreakpoints;
use crate::backend::{BackendError, ENGINE_SIGNATURE, EventStream};
use crate::engine::decode::Piece;
use crate::engine::{EndReason, EngineEvent, Finished};
use crate::wire::{ContentWriter, ErrorKind, Message, StopReason, StreamEvent, Usage, random_id};

/// The answer as a client sees it. Dropping it cancels the generation.
///
/// `model` is the name that the client asked for, which it expects to see again. `breakpoints` are positions in tokens; they are
/// awaited when the answer starts, because `message_start` carries the usage.
pub(crate) fn answer_stream(
    model: String,
    breakpoints: BoxFuture<'static, Result<CacheBreakpoints<usize>, BackendError>>,
    mut events: ClientEvents,
) -> EventStream {
    let stream = async_stream::stream! {
        let mut content = ContentWriter::signing(ENGINE_SIGNATURE);
        let mut usage = Usage::default();
        let mut breakpoints = Some(breakpoints);
        while let Some(event) = events.recv().await {
            match event {
                Ok(EngineEvent::Started { prompt_tokens, cached_tokens }) => {
                    // An answer starts once.
                    let Some(breakpoints) = breakpoints.take() else { continue };
                    usage = match breakpoints.await {
                        Ok(breakpoints) => breakpoints.usage(prompt_tokens, cached_tokens),
                        Err(error) => {
                            yield Err(error);
                            return;
                        }
                    };
                    let message = Message::empty(random_id("msg_"), &model, usage.clone());
                    yield Ok(StreamEvent::MessageStart { message });
                }
                Ok(EngineEvent::Piece(piece)) => {
                    write(&mut content, piece);
                    for event in content.take_events() {
                        yield Ok(event);
                    }
                }
                Ok(EngineEvent::Finished(finished)) => {
                    for event in ending(content, usage, finished) {
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
    EventStream::new(stream)
}

fn write(content: &mut ContentWriter, piece: Piece) {
    match piece {
        Piece::Text(text) => content.text(&text),
        Piece::TextWithLogprobs { text, logprobs } => content.text_with_logprobs(&text, logprobs),
        Piece::Thinking(text) => content.thinking(&text),
        Piece::ToolStart { name } => content.start_tool_use(random_id("toolu_"), name),
        Piece::ToolInput(json) => content.tool_input(&json),
        Piece::ToolEnd => content.end_tool_use(),
    }
}

/// The last events of a complete answer.
fn ending(mut content: ContentWriter, usage: Usage, finished: Finished) -> Vec<StreamEvent> {
    let Finished { reason, called_tool, output_tokens, prefill, decode, choices: _ } = finished;
    tracing::info!(?reason, output_tokens, ?prefill, ?decode, "answered");
    let (stop_reason, sequence) = match reason {
        // Clients look for the call that this promises.
        EndReason::EndToken if called_tool && content.has_tool_use() => (StopReason::ToolUse, None),
        EndReason::EndToken => (StopReason::EndTurn, None),
        EndReason::MaxTokens | EndReason::OutputLimit | EndReason::Repetition { .. } => (StopReason::MaxTokens, None),
        EndReason::StopSequence(text) => (StopReason::StopSequence, Some(text)),
    };
    let usage = Usage { output_tokens: output_tokens as u64, ..usage };
    content.close();
    let mut events = content.take_events();
    events.extend([StreamEvent::message_delta(stop_reason, sequence, &usage), StreamEvent::MessageStop]);
    events
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::ready;
    use futures::{FutureExt, StreamExt};

    use super::*;
    use crate::engine::EngineError;
    use crate::wire::{Assembler, ContentBlock};
    use serde_json::json;

    fn started() -> Result<EngineEvent, EngineError> {
        Ok(EngineEvent::Started { prompt_tokens: 100, cached_tokens: 60 })
    }

    fn finished(reason: EndReason, called_tool: bool) -> Result<EngineEvent, EngineError> {
        let (prefill, decode) = (Duration::ZERO, Duration::ZERO);
        Ok(EngineEvent::Finished(Finished { reason, called_tool, output_tokens: 7, prefill, decode, choices: None }))
    }

    /// What a client sees when the engine sends `events` and then goes away.
    async fn seen(events: Vec<Result<EngineEvent, EngineError>>) -> Vec<Result<StreamEvent, BackendError>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(events.len().max(1));
        events.into_iter().for_each(|event| sender.try_send(event).unwrap());
        drop(sender);
        answer_stream("claude-x".into(), ready(Ok(CacheBreakpoints::default())).boxed(), receiver).collect().await
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
        events.push(finished(EndReason::EndToken, true));
        let message = message(events).await;
        assert!(message.id.starts_with("msg_") && message.id.len() == 28 && message.model == "claude-x");
        assert_eq!(message.stop_reason, Some(StopReason::ToolUse));
        assert_eq!(message.content[0], ContentBlock::text("Let me look."));
        let ContentBlock::ToolUse { name, input, .. } = &message.content[1] else { panic!("{message:?}") };
        assert_eq!((name.as_str(), input), ("Read", &json!({"path": "a"})));
        assert_eq!((message.usage.prompt_tokens(), message.usage.output_tokens), (100, 7));
    }

    #[tokio::test]
    async fn the_stop_reason_is_the_engines() {
        let cases = [
            (EndReason::EndToken, false, StopReason::EndTurn, None),
            (EndReason::MaxTokens, true, StopReason::MaxTokens, None),
            (EndReason::OutputLimit, true, StopReason::MaxTokens, None),
            (EndReason::Repetition { period: 3 }, false, StopReason::MaxTokens, None),
            (EndReason::StopSequence("END".into()), false, StopReason::StopSequence, Some("END".to_string())),
        ];
        for (stop, called_tool, reason, sequence) in cases {
            let message = message(vec![started(), finished(stop, called_tool)]).await;
            assert_eq!((message.stop_reason, message.stop_sequence), (Some(reason), sequence));
        }
        // Whoever is told of a call must find one.
        let without_call = message(vec![started(), finished(EndReason::EndToken, true)]).await;
        assert_eq!(without_call.stop_reason, Some(StopReason::EndTurn));
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
