//! Turning a backend's events into a response: a stream of server-sent events, or the whole message.

use std::fmt::Display;
use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_stream::stream;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::error::{ApiError, envelope};
use super::meter::Meter;
use crate::backend::{Backend, BackendError, EventStream};
use crate::wire::{Assembler, ErrorKind, Message, MessagesRequest, StreamEvent};

/// The response header that names the schemas that an answer is held to only in part, each with what was left out.
pub(super) const LOOSENED_HEADER: &str = "x-anyclaude-loosened";

/// The most bytes of that header. Clients refuse long ones; the log has all of it.
const LONGEST_LOOSENED: usize = 2_000;

/// Ends the header where it was cut.
const CUT: &str = "...";

/// How long what was said may take to be written before the connection breaks: what is not written by then never is.
const LAST_WRITES: Duration = Duration::from_millis(100);

/// What is percent-encoded in the header, beside all that is not ASCII.
const NOT_IN_HEADER: &AsciiSet = &CONTROLS.add(b'%');

/// An answer that was asked for.
pub(crate) struct Answer {
    events: BoxStream<'static, Result<StreamEvent, BackendError>>,
    /// [`EventStream::loosened`], known once the answer is under way.
    loosened: Arc<OnceLock<Vec<String>>>,
}

/// The backend's answer to a request.
pub(crate) fn answer(backend: Arc<dyn Backend>, request: MessagesRequest) -> Answer {
    whole_stream(async move {
        check_logprobs(backend.as_ref(), &request)?;
        backend.messages(request).await
    })
}

/// The backend's continuation of a text. `settings`: how, in a request without messages.
pub(crate) fn continuation(backend: Arc<dyn Backend>, text: String, settings: MessagesRequest) -> Answer {
    whole_stream(async move {
        check_logprobs(backend.as_ref(), &settings)?;
        backend.continue_text(text, settings).await
    })
}

/// Refuses a request for log-probabilities that the backend would answer without them.
fn check_logprobs(backend: &dyn Backend, request: &MessagesRequest) -> Result<(), BackendError> {
    if request.top_logprobs.is_none() || backend.reports_logprobs() {
        return Ok(());
    }
    let reason = format!("logprobs: only a local model reports them here, not {}: leave the field out", backend.name());
    Err(BackendError::new(ErrorKind::InvalidRequest, reason))
}

/// The events of an answer that starts like this. An error before the first event is an item of the stream too. Exactly one
/// `message_stop` or one error ends it. A ping begins it: the request is not refused any more. The backend's other pings are left
/// out, because the server sends its own.
fn whole_stream(start: impl Future<Output = Result<EventStream, BackendError>> + Send + 'static) -> Answer {
    let loosened = Arc::new(OnceLock::new());
    let known = loosened.clone();
    let begun = move |mut events: EventStream| {
        // It is set once: an answer begins once.
        known.set(take(&mut events.loosened)).ok();
        marked(events)
    };
    let start = stream::once(start).map_ok(begun).try_flatten();
    // To the client, a bug in a backend must look like an error and not like a lost connection.
    let events = AssertUnwindSafe(start).catch_unwind().map(|event| event.unwrap_or_else(|_| Err(panicked())));
    let events = Box::pin(stream! {
        for await event in events {
            let is_last = matches!(event, Ok(StreamEvent::MessageStop) | Err(_));
            yield event;
            if is_last {
                return;
            }
        }
        yield Err(BackendError::new(ErrorKind::Api, "the model's answer ended in the middle"));
    });
    Answer { events, loosened }
}

/// The events of an answer that is under way: one ping, then all that are no pings.
fn marked(events: EventStream) -> BoxStream<'static, Result<StreamEvent, BackendError>> {
    let others = events.try_filter(|event| ready(*event != StreamEvent::Ping));
    stream::once(ready(Ok(StreamEvent::Ping))).chain(others).boxed()
}

fn panicked() -> BackendError {
    BackendError::new(ErrorKind::Api, "the model's backend failed unexpectedly: see the server's log")
}

/// A response with the message that the events assemble to, as JSON. The input of a tool call that was cut is a string, see
/// [`Assembler`].
pub(crate) async fn whole<T: Serialize>(
    answer: Answer,
    meter: Meter,
    encode: impl FnOnce(Message) -> T,
) -> Result<Response, ApiError> {
    match assembled(answer.events, meter).await {
        Ok(message) => Ok((loosened_header(&answer.loosened), Json(encode(message))).into_response()),
        // The connection breaks in place of the body.
        Err(BackendError::BrokenOff) => {
            Ok(Body::from_stream(stream::iter([Err::<Bytes, _>(BackendError::BrokenOff)])).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

async fn assembled(
    mut events: BoxStream<'static, Result<StreamEvent, BackendError>>,
    mut meter: Meter,
) -> Result<Message, BackendError> {
    let mut assembler = Assembler::default();
    while let Some(event) = events.next().await {
        let event = event.inspect_err(|error| meter.failed(error))?;
        meter.see(&event);
        assembler.push(&event).map_err(|error| malformed(error, &mut meter))?;
    }
    assembler.finish().map_err(|error| malformed(error, &mut meter))
}

/// What is known by now of schemas that were loosened, as a header; none if there is nothing.
fn loosened_header(loosened: &OnceLock<Vec<String>>) -> HeaderMap {
    let text = loosened.get().map(|loosened| loosened.join("; ")).unwrap_or_default();
    let value = HeaderValue::try_from(header_text(&text)).ok().filter(|value| !value.is_empty());
    value.map(|value| (HeaderName::from_static(LOOSENED_HEADER), value)).into_iter().collect()
}

/// A text as a header can have it, cut between characters if it is too long.
fn header_text(text: &str) -> String {
    let encode = |text| utf8_percent_encode(text, NOT_IN_HEADER).to_string();
    let whole = encode(text);
    if whole.len() <= LONGEST_LOOSENED {
        return whole;
    }
    let mut cut = String::new();
    for character in text.split_inclusive(|_| true).map(encode) {
        if cut.len() + character.len() + CUT.len() > LONGEST_LOOSENED {
            break;
        }
        cut.push_str(&character);
    }
    cut + CUT
}

fn malformed(error: impl Display, meter: &mut Meter) -> BackendError {
    let error = BackendError::new(ErrorKind::Api, format!("the model's answer is malformed: {error}"));
    meter.failed(&error);
    error
}

/// How long an answer may keep its client waiting for the HTTP status before it is under way, such as in the queue.
const LONGEST_WITHOUT_STATUS: Duration = Duration::from_secs(20);

/// A response of server-sent events, each framed by `encode`. An error before the first frame keeps its HTTP status; a later one
/// becomes an event. The first frame waits until the request is accepted, and then for `ping_every` if need be.
pub(crate) async fn streaming(
    Answer { mut events, loosened }: Answer,
    mut meter: Meter,
    ping_every: Duration,
    encode: impl FnMut(&StreamEvent) -> Bytes + Send + 'static,
) -> Result<Response, ApiError> {
    let mut first = timeout(LONGEST_WITHOUT_STATUS, events.next()).await;
    if let Ok(Some(Ok(StreamEvent::Ping))) = first {
        first = timeout(ping_every, events.next()).await;
    }
    let first = match first {
        Ok(Some(Err(error))) if !matches!(error, BackendError::BrokenOff) => {
            meter.failed(&error);
            return Err(error.into());
        }
        Ok(first) => first.into_iter().collect(),
        Err(_silence) => vec![Ok(StreamEvent::Ping)],
    };
    let frames = frames(stream::iter(first).chain(events), meter, ping_every, encode);
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, loosened_header(&loosened), Body::from_stream(frames)).into_response())
}

/// The events as SSE frames, with a ping after each `ping_every` of silence. An error in place of a frame breaks the connection.
fn frames(
    events: impl Stream<Item = Result<StreamEvent, BackendError>> + Send,
    mut meter: Meter,
    ping_every: Duration,
    mut encode: impl FnMut(&StreamEvent) -> Bytes + Send,
) -> impl Stream<Item = Result<Bytes, BackendError>> + Send {
    stream! {
        let mut events = std::pin::pin!(events);
        loop {
            let event = match timeout(ping_every, events.next()).await {
                Ok(None) => return,
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => {
                    meter.failed(&error);
                    if let BackendError::BrokenOff = error {
                        sleep(LAST_WRITES).await;
                        yield Err(error);
                        return;
                    }
                    StreamEvent::Error { body: envelope(error) }
                }
                Err(_silence) => StreamEvent::Ping,
            };
            meter.see(&event);
            yield Ok(encode(&event));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tokio::time::Instant;

    use super::*;
    use crate::server::metrics::Metrics;
    use crate::server::observe::RequestId;
    use crate::wire::encode_event;

    const PING_EVERY: Duration = Duration::from_secs(2);

    #[test]
    fn a_headers_text_loses_nothing_unseen() {
        assert_eq!(header_text("Größe: 5% of\n~"), "Gr%C3%B6%C3%9Fe: 5%25 of%0A~");
        let fits = "x".repeat(LONGEST_LOOSENED);
        assert_eq!(header_text(&fits), fits);
        let cut = header_text(&"日".repeat(LONGEST_LOOSENED));
        assert!(cut.len() <= LONGEST_LOOSENED && cut.ends_with("%E6%97%A5..."), "{cut}");
    }

    /// The status of an answer that is refused after this time, and when the client has it.
    async fn refused_after(wait: Duration) -> (StatusCode, Duration) {
        let refusal = async move {
            sleep(wait).await;
            Err(BackendError::new(ErrorKind::RateLimit, "too many requests"))
        };
        let meter = Meter::start(Arc::new(Metrics::new()), RequestId::new());
        let start = Instant::now();
        let response = streaming(whole_stream(refusal), meter, PING_EVERY, encode_event).await;
        (response.map_or_else(|error| error.into_response().status(), |response| response.status()), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_breaks_off_breaks_the_connection() {
        let broken = || whole_stream(async { Ok(EventStream::new(stream::iter([Err(BackendError::BrokenOff)]))) });
        let meter = || Meter::start(Arc::new(Metrics::new()), RequestId::new());
        let streamed = streaming(broken(), meter(), PING_EVERY, encode_event).await;
        let at_once = whole(broken(), meter(), |message| message).await;
        for response in [streamed, at_once] {
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(axum::body::to_bytes(response.into_body(), usize::MAX).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_keeps_its_status_for_20_seconds() {
        let second = Duration::from_secs(1);
        let before = LONGEST_WITHOUT_STATUS - second;
        assert_eq!(refused_after(before).await, (StatusCode::TOO_MANY_REQUESTS, before));
        let after = LONGEST_WITHOUT_STATUS + second;
        assert_eq!(refused_after(after).await, (StatusCode::OK, LONGEST_WITHOUT_STATUS));
    }
}
