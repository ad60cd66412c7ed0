//! The tap, which every chunk of a recorded answer passes on its way to the client. It decompresses the chunk, splits it into
//! events, timestamps them and hands them to the writer. If the answer ends in the chunk, the tap holds it back until the trace
//! is on the disk.

use std::time::Instant;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};

use super::compression::DecodeError;
use super::decompress::Decoder;
use super::exchange_file::ExchangeUpdate;
use super::headers::body_length;
use super::writer::ExchangeWriter;
use crate::trace::ExchangeOutcome;
use crate::wire::{Endpoint, EventTooLarge, Frame, Splitter, StreamSign};

/// The recording of one exchange, from the moment its request is sent.
pub(super) struct Tap {
    writer: ExchangeWriter,
    /// When the request was sent.
    sent: Instant,
    endpoint: Endpoint,
    /// The response's HTTP status; 0 before it came.
    status: u16,
    /// `None` if the answer cannot be decoded, or not any further.
    decoder: Option<Decoder>,
    /// How the exchange ends for the trace if the answer is not recorded to its end.
    cut_short: Option<ExchangeOutcome>,
    body: AnswerBody,
    /// Bytes still to come, if the response has a length.
    remaining: Option<u64>,
    /// Whether the stream said that it is whole.
    stopped: bool,
    /// Whether the stream may end without saying so.
    may_end: bool,
    /// Whether the stream said that the upstream failed.
    failed: bool,
    /// How the exchange ended. Events that come later are added to the trace, but do not change this.
    ended: Option<ExchangeOutcome>,
    /// Whether something came that is not in the saved trace.
    unsaved: bool,
}

enum AnswerBody {
    Events(Splitter),
    /// The bytes so far.
    Whole(Vec<u8>),
}

impl Tap {
    /// Starts the clock: the request is about to be sent.
    pub(crate) fn new(writer: ExchangeWriter, endpoint: Endpoint) -> Self {
        Self {
            writer,
            sent: Instant::now(),
            endpoint,
            status: 0,
            decoder: Some(Decoder::identity()),
            cut_short: None,
            body: AnswerBody::Whole(Vec::new()),
            remaining: None,
            stopped: false,
            may_end: false,
            failed: false,
            ended: None,
            unsaved: true,
        }
    }

    /// Adds the head of the response. It may go to the client once this returns.
    pub(crate) async fn response(&mut self, method: &Method, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        match Decoder::for_body(headers) {
            Ok(decoder) => self.decoder = Some(decoder),
            Err(reason) => self.give_up(&reason),
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")) {
            self.body = AnswerBody::Events(Splitter::default());
        }
        // Such responses have no body, whatever length they announce.
        let bodiless = method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.remaining = if bodiless { Some(0) } else { body_length(headers) };
        self.writer.respond(self.status, headers.clone()).await;
        if self.remaining == Some(0) {
            self.end().await;
        }
    }

    /// Adds a chunk. It may go to the client once this returns. Waits if the disk is slow: see `writer`.
    pub(crate) async fn chunk(&mut self, chunk: &[u8]) {
        let at_us = self.elapsed_us();
        let decoded = self.decode(chunk).await;
        match &mut self.body {
            AnswerBody::Whole(body) => body.extend(decoded),
            AnswerBody::Events(splitter) => match splitter.push(&decoded) {
                Ok(frames) => self.events(frames, at_us).await,
                Err(EventTooLarge { before }) => {
                    self.events(before, at_us).await;
                    self.give_up(&DecodeError::TooLarge);
                }
            },
        }
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(chunk.len() as u64));
        if self.remaining == Some(0) {
            self.end().await;
        } else if self.stopped && self.ended.is_none() {
            self.save(self.outcome(), None).await;
        }
    }

    /// The answer has ended in good order.
    pub(crate) async fn end(&mut self) {
        let at_us = self.elapsed_us();
        if let Some(decoder) = &mut self.decoder
            && self.ended.is_none()
            && let Err(error) = decoder.finish().await
        {
            self.give_up(&error);
        }
        // The last event of an answer that is cut short is half of one.
        if let AnswerBody::Events(splitter) = &mut self.body
            && self.cut_short.is_none()
            && let Some(frame) = splitter.finish()
        {
            self.event(frame, at_us).await;
        }
        if self.unsaved {
            let ended_us = self.cut_short.is_none().then_some(at_us);
            self.save(self.outcome(), ended_us).await;
        }
    }

    /// The exchange was broken off. An answer that was already complete stays so.
    pub(crate) async fn cut(&mut self, outcome: ExchangeOutcome) {
        if self.unsaved {
            self.save(outcome, None).await;
        }
    }

    /// The outcome of an answer that ended in good order.
    fn outcome(&self) -> ExchangeOutcome {
        let is_stream = matches!(self.body, AnswerBody::Events(_));
        let no_stop = self.endpoint.ends_its_streams() && is_stream && !self.stopped && !self.may_end;
        match self.cut_short {
            _ if self.status >= 400 || self.failed => ExchangeOutcome::UpstreamError,
            Some(outcome) => outcome,
            None if no_stop => ExchangeOutcome::UpstreamError,
            None => ExchangeOutcome::Complete,
        }
    }

    async fn save(&mut self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        if let AnswerBody::Whole(body) = &mut self.body
            && self.ended.is_none()
        {
            self.writer.add(ExchangeUpdate::Body(std::mem::take(body))).await;
        }
        let outcome = *self.ended.get_or_insert(outcome);
        self.unsaved = false;
        self.writer.save(outcome, ended_us).await;
    }

    async fn events(&mut self, frames: Vec<Frame>, at_us: u64) {
        for frame in frames {
            self.event(frame, at_us).await;
        }
    }

    async fn event(&mut self, frame: Frame, at_us: u64) {
        let event = frame.name();
        match StreamSign::of_event(self.endpoint, &event, &frame.data) {
            StreamSign::GoesOn => {}
            StreamSign::MayEnd => self.may_end = true,
            StreamSign::Ends => self.stopped = true,
            StreamSign::Fails => self.failed = true,
        }
        self.unsaved = true;
        self.writer.add(ExchangeUpdate::Event { at_us, event, data: frame.data }).await;
    }

    async fn decode(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        if let Some(decoder) = &mut self.decoder
            && let Err(error) = decoder.push(chunk, &mut decoded).await
        {
            self.give_up(&error);
        }
        decoded
    }

    /// Records no more of the answer. The trace says so by its outcome.
    fn give_up(&mut self, error: &DecodeError) {
        tracing::warn!("the rest of the upstream's answer is not recorded: {error}");
        self.decoder = None;
        self.cut_short = Some(match error {
            DecodeError::TooLarge | DecodeError::TooManyMembers => ExchangeOutcome::Truncated,
            _ => ExchangeOutcome::UpstreamError,
        });
    }

    /// Microseconds since the request was sent.
    fn elapsed_us(&self) -> u64 {
        self.sent.elapsed().as_micros() as u64
    }
}
