//! How long a server may take, and how much it may send: one that means harm sends a line without an end.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::Response;

use super::root_cause;
use crate::wire::{EventTooLarge, Frame, Splitter};

/// The most bytes of a body, streamed or not: more than the longest answer with all its events has.
const LARGEST_BODY: usize = 1 << 30;

/// The most bytes of a body that is read as a whole.
const LARGEST_WHOLE: usize = 32 << 20;

/// How long a server may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeLimits {
    /// To take a connection.
    pub connect: Duration,
    /// To say the first byte of an answer, and each next one. Anthropic and anyclaude send a ping every few seconds; others may send
    /// nothing during a prefill.
    pub silence: Duration,
    /// For a whole answer.
    pub answer: Option<Duration>,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(600), answer: None }
    }
}

/// Why no more of a body can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the connection broke: {}", root_cause(.0))]
    Broken(reqwest::Error),
    #[error(transparent)]
    Event(#[from] EventTooLarge),
    #[error("a body of more than {} MiB", .0 >> 20)]
    Size(usize),
}

/// The events of a streamed body, within the bounds.
pub(crate) fn events(response: Response) -> impl Stream<Item = Result<Frame, BodyError>> {
    events_of(response, LARGEST_BODY)
}

fn events_of(response: Response, largest: usize) -> impl Stream<Item = Result<Frame, BodyError>> {
    let (mut read, mut splitter) = (0, Splitter::default());
    let frames = response.bytes_stream().map(move |bytes| {
        let bytes = bytes.map_err(BodyError::Broken)?;
        read += bytes.len();
        if read > largest { Err(BodyError::Size(largest)) } else { Ok(stream::iter(splitter.push(&bytes)?).map(Ok)) }
    });
    frames.try_flatten()
}

/// A body that is no stream, whole.
pub(crate) async fn whole(response: Response) -> Result<Vec<u8>, BodyError> {
    let bytes = response.bytes_stream().map_err(BodyError::Broken);
    let add = |mut body: Vec<u8>, bytes: Bytes| async move {
        body.extend_from_slice(&bytes);
        if body.len() > LARGEST_WHOLE { Err(BodyError::Size(LARGEST_WHOLE)) } else { Ok(body) }
    };
    bytes.try_fold(Vec::new(), add).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends the reading of a body of this piece, again and again.
    async fn end_of(piece: String) -> String {
        let pieces = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        let response = axum::http::Response::new(reqwest::Body::wrap_stream(pieces));
        let mut events = Box::pin(events_of(response.into(), 100 << 20));
        loop {
            if let Err(error) = events.next().await.unwrap() {
                return error.to_string();
            }
        }
    }

    #[tokio::test]
    async fn an_event_and_a_body_without_end_are_errors() {
        let megabyte = "x".repeat(1 << 20);
        insta::assert_snapshot!(end_of(megabyte.clone()).await, @"an event of more than 64 MiB, which none has");
        insta::assert_snapshot!(end_of(format!("data: {megabyte}\n")).await, @"an event of more than 64 MiB, which none has");
        insta::assert_snapshot!(end_of(format!("data: {megabyte}\n\n")).await, @"a body of more than 100 MiB");
    }

    #[tokio::test]
    async fn a_whole_body_has_a_smaller_bound() {
        let body = |bytes: usize| axum::http::Response::new(vec![b' '; bytes]).into();
        assert_eq!(whole(body(9)).await.unwrap().len(), 9);
        insta::assert_snapshot!(whole(body(LARGEST_WHOLE + 1)).await.unwrap_err(), @"a body of more than 32 MiB");
    }
}
