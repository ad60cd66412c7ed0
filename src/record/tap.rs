//! What every chunk of a recorded answer passes on its way to the client: decompressed, split into events, stamped with its
//! arrival time, handed to the writer; and where the answer ends in it, kept until the trace is on the disk.

use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::decode::Decoder;
use super::exchange_file::Entry;
use super::sse::{Frame, Splitter};
use super::writer::ExchangeWriter;
use crate::trace::ExchangeOutcome;

/// The recording of one exchange, from the moment its request is sent.
pub(super) struct Tap {
    writer: ExchangeWriter,
    sent: Instant,
    /// A stream of these must end in `message_stop`.
    is_messages: bool,
    status: u16,
    /// `None` where the answer cannot be decoded (any more).
    decoder: Option<Decoder>,
    content: Content,
    /// Bytes still to come, where the head said how many.
    remaining: Option<u64>,
    /// The stream's `message_stop` has come.
    stopped: bool,
    /// The stream held an `error` event.
    error_event: bool,
    /// How the exchange ended, once it did; what comes after that changes no more than the list of events.
    ended: Option<ExchangeOutcome>,
    /// Something came that is not in the saved trace.
    unsaved: bool,
}

enum Content {
    Stream(Splitter),
    Body(Vec<u8>),
}

impl Tap {
    /// The request is about to be sent.
    pub fn new(writer: ExchangeWriter, is_messages: bool) -> Self {
        Self {
            writer,
            sent: Instant::now(),
            is_messages,
            status: 0,
            decoder: Some(Decoder::Identity),
            content: Content::Body(Vec::new()),
            remaining: None,
            stopped: false,
            error_event: false,
            ended: None,
            unsaved: true,
        }
    }

    /// The response's head has come. `bodiless`: no body will follow, whatever the head says.
    pub async fn response(&mut self, status: u16, headers: &HeaderMap, bodiless: bool) {
        self.status = status;
        self.decoder = Decoder::for_response(headers)
            .inspect_err(|encoding| {
                tracing::warn!("content-encoding {encoding} is not known; this answer's body is not recorded")
            })
            .ok();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(CONTENT_TYPE).is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")) {
            self.content = Content::Stream(Splitter::default());
        }
        self.remaining = if bodiless { Some(0) } else { text(CONTENT_LENGTH).and_then(|length| length.parse().ok()) };
        self.writer.add(Entry::Response { status, headers: headers.clone() });
        if self.remaining == Some(0) {
            self.end().await;
        }
    }

    /// A chunk has come. When this returns, it may go to the client.
    pub async fn chunk(&mut self, chunk: &[u8]) {
        let at_us = self.elapsed_us();
        let decoded = self.decode(chunk).await;
        match &mut self.content {
            Content::Body(body) => body.extend(decoded),
            Content::Stream(splitter) => {
                for frame in splitter.push(&decoded) {
                    self.event(frame, at_us);
                }
            }
        }
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(chunk.len() as u64));
        if self.remaining == Some(0) {
            self.end().await;
        } else if self.stopped && self.ended.is_none() {
            self.save(self.outcome(), None).await;
        }
    }

    /// The answer has ended in order.
    pub async fn end(&mut self) {
        let at_us = self.elapsed_us();
        if let Content::Stream(splitter) = &mut self.content
            && let Some(frame) = splitter.finish()
        {
            self.event(frame, at_us);
        }
        if self.unsaved {
            self.save(self.outcome(), Some(at_us)).await;
        }
    }

    /// The exchange was broken off. An answer that was whole already stays whole.
    pub async fn cut(&mut self, outcome: ExchangeOutcome) {
        if self.unsaved {
            self.save(outcome, None).await;
        }
    }

    /// How an answer that ended in order ended.
    fn outcome(&self) -> ExchangeOutcome {
        let cut_short = self.is_messages && matches!(self.content, Content::Stream(_)) && !self.stopped;
        if self.status >= 400 || self.error_event || cut_short {
            ExchangeOutcome::UpstreamError
        } else {
            ExchangeOutcome::Complete
        }
    }

    async fn save(&mut self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        if let Content::Body(body) = &mut self.content
            && self.ended.is_none()
        {
            self.writer.add(Entry::Body(std::mem::take(body)));
        }
        let outcome = *self.ended.get_or_insert(outcome);
        self.unsaved = false;
        self.writer.save(outcome, ended_us).await;
    }

    fn event(&mut self, frame: Frame, at_us: u64) {
        let event = frame.name();
        self.stopped |= event == "message_stop";
        self.error_event |= event == "error";
        self.unsaved = true;
        self.writer.add(Entry::Event { at_us, event, data: frame.data });
    }

    async fn decode(&mut self, chunk: &[u8]) -> Vec<u8> {
        let Some(decoder) = &mut self.decoder else { return Vec::new() };
        match decoder.push(chunk).await {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::warn!("cannot decompress the upstream's answer: {error}; the rest of it is not recorded");
                self.decoder = None;
                Vec::new()
            }
        }
    }

    /// Microseconds since the request was sent.
    fn elapsed_us(&self) -> u64 {
        self.sent.elapsed().as_micros() as u64
    }
}
