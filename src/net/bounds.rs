//! How long a server may take, and how much it may send: one that means harm sends a line without an end.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::Response;

use super::root_cause;

/// The longest line of an event stream, in bytes: far more than any event has.
const LONGEST_LINE: usize = 64 << 20;

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
    #[error("a line of more than {} MiB, which no event has", LONGEST_LINE >> 20)]
    Line,
    #[error("a body of more than {} MiB", .0 >> 20)]
    Size(usize),
}

/// The bytes of a streamed body, within the bounds.
pub(crate) fn bounded(response: Response) -> impl Stream<Item = Result<Bytes, BodyError>> {
    let mut read = Read::default();
    response.bytes_stream().map(move |bytes| {
        let bytes = bytes.map_err(BodyError::Broken)?;
        read.add(&bytes)?;
        Ok(bytes)
    })
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

/// How much was read.
#[derive(Default)]
struct Read {
    line: usize,
    body: usize,
}

impl Read {
    fn add(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.body += bytes.len();
        self.line = match bytes.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(end) => bytes.len() - end - 1,
            None => self.line + bytes.len(),
        };
        match () {
            () if self.line > LONGEST_LINE => Err(BodyError::Line),
            () if self.body > LARGEST_BODY => Err(BodyError::Size(LARGEST_BODY)),
            () => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_body_without_end_are_errors() {
        let mut read = Read::default();
        let megabyte = vec![b'x'; 1 << 20];
        let error = (0..100).find_map(|_| read.add(&megabyte).err()).unwrap();
        insta::assert_snapshot!(error, @"a line of more than 64 MiB, which no event has");
        let mut read = Read::default();
        let lines = [&megabyte[..], b"\n"].concat();
        let error = (0..2000).find_map(|_| read.add(&lines).err()).unwrap();
        insta::assert_snapshot!(error, @"a body of more than 1024 MiB");
    }

    #[tokio::test]
    async fn a_whole_body_has_a_smaller_bound() {
        let body = |bytes: usize| axum::http::Response::new(vec![b' '; bytes]).into();
        assert_eq!(whole(body(9)).await.unwrap().len(), 9);
        insta::assert_snapshot!(whole(body(LARGEST_WHOLE + 1)).await.unwrap_err(), @"a body of more than 32 MiB");
    }
}
