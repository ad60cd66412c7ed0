//! Writing one exchange, redacted: first to a growing `.partial` file, at the end as a trace.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, oneshot};

use super::decompress::decompressed;
use super::headers;
use super::known::KnownSoFar;
use super::notice::{ExchangeName, Notice, Opened, Recorded};
use super::session::RecordingSession;
use super::weight::{EventRoom, body_value};
use crate::convert::usage_in;
use crate::server::TOKEN_HEADER;
use crate::trace::redact::{Redactor, StreamRedactor};
use crate::trace::{
    self, Draft, ExchangeOutcome, Opening, PartialFile, PartialLine, RecordedEvent, RecordedRequest, Timing, TraceError,
    partial_path,
};

/// A request as the client sent it, and where to write its trace.
pub(super) struct IncomingRequest {
    pub seq: u32,
    /// It stays open until the exchange is closed.
    pub session: Arc<RecordingSession>,
    /// The trace file; `None` to write none.
    pub trace: Option<PathBuf>,
    pub arrived: OffsetDateTime,
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The upstream, where there are several.
    pub upstream: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the tap reports about an exchange, in order.
pub(super) enum ExchangeUpdate {
    /// The head of the response. Then send `done`: the request and this are in the partial file, or cannot be written.
    Response { status: u16, headers: HeaderMap, done: oneshot::Sender<()> },
    /// A server-sent event. `at_us`: microseconds since the request was sent.
    Event { at_us: u64, event: String, data: String },
    /// The whole body of a response that is not a stream.
    Body(Vec<u8>),
    /// The exchange ended: write the trace, then send `done`. `ended_us`: microseconds from the request to the end of the body,
    /// if it ended in good order.
    Save { outcome: ExchangeOutcome, ended_us: Option<u64>, done: oneshot::Sender<()> },
}

/// One exchange so far, in memory and on the disk.
pub(super) struct ExchangeFile {
    name: ExchangeName,
    /// The model that the request asks for.
    model: Option<String>,
    /// Held so that it stays open.
    _session: Arc<RecordingSession>,
    draft: Draft,
    redactor: Redactor,
    stream: StreamRedactor,
    /// The trace file; `None` to write none.
    trace: Option<PathBuf>,
    /// `None` once the trace is written, and if nothing is to be or could be written.
    partial: Option<PartialFile>,
    notices: mpsc::UnboundedSender<Notice>,
    /// How much more of the answer's events is recorded; `None` once there was too much.
    room: Option<EventRoom>,
    /// Whether the tap has reported the end of the exchange.
    is_ended: bool,
    /// What the notices have said of the answer so far.
    known: KnownSoFar,
    /// The outline of the saved trace.
    saved: Option<Recorded>,
}

impl ExchangeFile {
    /// Begins the files with the request.
    pub(crate) fn open(incoming: IncomingRequest, redactor: &Redactor, notices: mpsc::UnboundedSender<Notice>) -> Self {
        let pairs = headers::as_text(&incoming.headers);
        let pairs = || pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let redactor = redactor.for_request(pairs(), &incoming.path);
        // A token that the client sent is known to the redactor by now.
        let client = pairs().find(|(name, _)| *name == "user-agent").map_or("", |(_, value)| value);
        let opening = Opening {
            version: trace::VERSION,
            id: uuid::Uuid::new_v4().to_string(),
            session: incoming.session.name().to_owned(),
            seq: incoming.seq,
            // Formatting fails only after the year 9999.
            recorded_at: incoming.arrived.format(&Rfc3339).unwrap_or_default(),
            client: redactor.text(client).into_owned(),
            mode: incoming.session.mode().to_owned(),
            upstream: incoming.upstream.map(|upstream| redactor.text(&upstream).into_owned()),
            request: RecordedRequest {
                method: redactor.text(incoming.method.as_str()).into_owned(),
                path: redactor.path(&incoming.path),
                headers: redactor.headers(pairs().filter(|(name, _)| TOKEN_HEADER != *name)),
                body: request_json(&incoming.headers, &incoming.body, &redactor),
            },
        };
        let request = &opening.request;
        tracing::info!(seq = incoming.seq, "{} {}", request.method, request.path);
        tracing::debug!(seq = incoming.seq, "request headers {}", json!(request.headers));
        tracing::trace!(seq = incoming.seq, "request body {}", request.body);
        let name = ExchangeName { session: opening.session.clone(), seq: incoming.seq };
        let model = request.body.get("model").and_then(Value::as_str).map(str::to_owned);
        let opened = Opened { exchange: name.clone(), path: request.path.clone(), model: model.clone() };
        let mut file = Self {
            name,
            model,
            _session: incoming.session,
            draft: Draft::new(opening.clone()),
            stream: StreamRedactor::new(redactor.clone()),
            redactor,
            partial: None,
            trace: incoming.trace,
            notices,
            room: Some(EventRoom::default()),
            is_ended: false,
            known: KnownSoFar::default(),
            saved: None,
        };
        file.notify(Notice::Opened(opened));
        match file.trace.as_deref().map(|trace| PartialFile::create(partial_path(trace))) {
            Some(Ok(partial)) => file.partial = Some(partial),
            Some(Err(error)) => file.fail(error),
            None => {}
        }
        file.append(&PartialLine::Request(Box::new(opening)));
        file
    }

    /// Adds an update.
    pub(crate) fn apply(&mut self, update: ExchangeUpdate) {
        match update {
            ExchangeUpdate::Response { status, headers, done } => {
                let pairs = headers::as_text(&headers);
                let headers = self.redactor.headers(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                tracing::debug!(status, "response headers {}", json!(headers));
                self.draft.respond(status, headers.clone());
                self.append(&PartialLine::Response { status, headers });
                // Fails if the exchange was dropped while it waited.
                done.send(()).ok();
            }
            ExchangeUpdate::Event { at_us, event, data } => {
                let Some(room) = &mut self.room else { return };
                match room.value(data) {
                    Some(data) => {
                        let events = self.stream.push(RecordedEvent { at_us, event, data });
                        self.push(events);
                    }
                    None => {
                        tracing::warn!(
                            seq = self.name.seq,
                            "the rest of the upstream's answer is not recorded: it has too many events"
                        );
                        self.room = None;
                    }
                }
            }
            ExchangeUpdate::Body(body) => {
                let body = body_json(&body, &self.redactor);
                tracing::trace!("response body {body}");
                self.draft.set_body(body);
            }
            ExchangeUpdate::Save { outcome, ended_us, done } => {
                self.is_ended = true;
                self.save(outcome, ended_us);
                // Fails if the exchange was dropped while it waited.
                done.send(()).ok();
            }
        }
    }

    fn push(&mut self, events: Vec<RecordedEvent>) {
        for event in events {
            tracing::trace!(at_us = event.at_us, "{} {}", event.event, event.data);
            if let Some(answering) = self.known.learn(&self.name, &event) {
                self.notify(Notice::Answering(answering));
            }
            self.append(&PartialLine::Event(event.clone()));
            self.draft.push(event);
        }
    }

    fn append(&mut self, line: &PartialLine) {
        if let Some(partial) = &mut self.partial
            && let Err(error) = partial.append(line)
        {
            self.partial = None;
            self.fail(error);
        }
    }

    fn save(&mut self, outcome: ExchangeOutcome, ended_us: Option<u64>) {
        let outcome = if self.room.is_some() { outcome } else { ExchangeOutcome::Truncated };
        let held_back = self.stream.finish();
        self.push(held_back);
        let mut trace = self.draft.to_trace(outcome, ended_us);
        self.redactor.json(&mut trace.response.body);
        match self.trace.as_deref().map_or(Ok(()), |path| trace::write(path, &trace)) {
            Ok(()) => {
                if let Some(Err(error)) = self.partial.take().map(PartialFile::remove) {
                    self.fail(error);
                }
                let usage = self.known.usage().cloned().or_else(|| usage_in(&trace.response.body["usage"]));
                let Timing { ttft_us, e2e_us, .. } = trace.timing;
                tracing::info!(seq = trace.seq, status = trace.response.status, ?outcome, ?ttft_us, ?e2e_us);
                self.saved = Some(Recorded {
                    exchange: self.name.clone(),
                    model: self.model.clone(),
                    method: trace.request.method,
                    path: trace.request.path,
                    status: trace.response.status,
                    events: trace.response.events.len(),
                    ttft_us,
                    e2e_us,
                    outcome,
                    usage,
                });
            }
            // The partial file stays, so that `recover` can turn it into a trace.
            Err(error) => self.fail(error),
        }
    }

    /// Ends the exchange: saves what is unsaved as truncated, and reports what was recorded.
    pub(crate) fn close(mut self) {
        if !self.is_ended {
            self.save(ExchangeOutcome::Truncated, None);
        }
        if let Some(recorded) = self.saved.take() {
            self.notify(Notice::Recorded(recorded));
        }
        self.notify(Notice::Closed(self.name.clone()));
    }

    fn fail(&self, error: TraceError) {
        self.notify(Notice::Failed(error));
    }

    fn notify(&self, notice: Notice) {
        // Fails if nothing listens to the notices any more.
        self.notices.send(notice).ok();
    }
}

/// The redacted body of a request, decompressed; the reason if that fails.
fn request_json(headers: &HeaderMap, body: &[u8], redactor: &Redactor) -> Value {
    match decompressed(headers, body) {
        Ok(body) => body_json(&body, redactor),
        Err(reason) => {
            tracing::warn!("the body of this request is not recorded: {reason}");
            Value::String(format!("[not recorded: {reason}]"))
        }
    }
}

/// A redacted body as it stands in a trace: JSON, or else a string; null if it is empty.
fn body_json(body: &[u8], redactor: &Redactor) -> Value {
    let mut value = body_value(body);
    redactor.json(&mut value);
    value
}
