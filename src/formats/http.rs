//! Exchanges as tools record them that know HTTP and no protocol above it.

use std::fmt::Display;
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Builder;

use super::importer::{Found, ImportedExchange, Importer, Passed};
use super::{imported_mode, session_name, stem};
use crate::record::{body_value, decompressed};
use crate::trace::redact::Redactor;
use crate::trace::{
    BodyFault, CallEnd, ExchangeOutcome, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION,
    asks_for_message, assemble, is_malformed, read_body, session_in_headers,
};
use crate::wire::{ContentBlock, Endpoint, Frame, Message, Splitter, StreamSign, from_json};

/// Names and values of headers, in order.
pub(super) type Headers = Vec<(String, String)>;

/// When a request was made.
pub(super) struct Started {
    time: OffsetDateTime,
    /// In RFC 3339 and UTC: as the file spells it, if it does.
    text: String,
}

impl Started {
    /// The time at these seconds since 1970.
    ///
    /// # Errors
    /// It is not after 1970's beginning, where clocks that were not read stand, or beyond what calendars hold.
    pub(super) fn at_seconds(seconds: f64) -> Result<Self, String> {
        let time = micros(seconds).and_then(|us| OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000).ok());
        time.map(Self::at).ok_or_else(|| format!("its time, {seconds} seconds since 1970, is none"))
    }

    /// The time that a text of RFC 3339 says.
    ///
    /// # Errors
    /// It says none, or one before the year 0 or after 9999 in UTC.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let none = |reason: &dyn Display| format!("its time, {text}, is none: {reason}");
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| none(&error))?;
        if text.ends_with('Z') {
            return Ok(Self { time, text: text.to_owned() });
        }
        let utc = time.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()));
        utc.map(Self::at).ok_or_else(|| none(&"calendars hold the years 0 to 9999"))
    }

    fn at(time: OffsetDateTime) -> Self {
        // Formatting fails only after the year 9999.
        Self { time, text: time.format(&Rfc3339).unwrap_or_default() }
    }
}

/// A length of time in microseconds; `None` if it is not one: what ends with its beginning, or before it, nobody has measured.
pub(super) fn micros(seconds: f64) -> Option<u64> {
    // Casts of floats stop at the bounds of the type.
    let micros = (seconds * 1e6).round() as u64;
    (micros > 0).then_some(micros)
}

/// A request with its answer, if that came.
pub(super) struct HttpExchange {
    /// Where in its file it stands.
    pub place: String,
    pub started: Started,
    pub method: String,
    /// The address, or only its path and query.
    pub url: String,
    pub headers: Headers,
    /// `None` if the file does not hold it.
    pub body: Option<Body>,
    pub answer: Option<HttpAnswer>,
}

/// An answer.
pub(super) struct HttpAnswer {
    pub status: u16,
    pub headers: Headers,
    /// `None` if the file does not hold it.
    pub body: Option<Body>,
    /// Microseconds from the request to the answer's end, if that is known.
    pub e2e_us: Option<u64>,
}

/// A body.
pub(super) enum Body {
    /// As it went over the wire, decompressed.
    Bytes(Vec<u8>),
    /// As the tool has parsed it.
    Json(Value),
}

impl Body {
    fn into_value(self) -> Value {
        match self {
            Self::Bytes(bytes) => body_value(&bytes),
            Self::Json(value) => value,
        }
    }
}

/// What an answer's body turned out to be.
struct Read {
    body: Value,
    outcome: ExchangeOutcome,
    missing: Option<&'static str>,
}

impl HttpExchange {
    /// The exchange as a trace, if it is a call of a model's API. `file`: the name of its session, if no header has one.
    pub(super) fn into_found(self, importer: &dyn Importer, file: &Path) -> Found {
        let place = self.place.clone();
        let endpoint = Endpoint::of_path(path_of(&self.url));
        if endpoint == Endpoint::Other || self.method != "POST" {
            return Found::Unrelated;
        }
        match self.into_trace(endpoint, importer, file) {
            Ok(exchange) => Found::Exchange(Box::new(exchange)),
            Err(reason) => Found::Passed(Passed { place, reason: reason.to_owned() }),
        }
    }

    fn into_trace(self, endpoint: Endpoint, importer: &dyn Importer, file: &Path) -> Result<ImportedExchange, &'static str> {
        let credentials = Redactor::credentials_in_address(&self.url);
        let body = self.body.ok_or("the file does not hold the request's body")?.into_value();
        if !body.is_object() {
            return Err("the request's body is no JSON object");
        }
        let headers = by_name(self.headers);
        let (status, answer_headers, e2e_us, read) = match self.answer {
            None => {
                let missing = Some("the answer");
                (0, Map::new(), None, Read { missing, ..Read::nothing() })
            }
            Some(HttpAnswer { status, headers, body, e2e_us }) => {
                let headers = by_name(headers);
                let read = read_answer(endpoint, status, &headers, body)?;
                (status, headers, e2e_us, read)
            }
        };
        let path = path_of(&self.url).to_owned();
        // Not where it stands: two files may hold the same exchange.
        let when = self.started.time.unix_timestamp_nanos().to_string();
        let id = id_of(&[&when, &path, &body.to_string(), &status.to_string(), &read.body.to_string()]);
        let text = |name: &str| headers.get(name).and_then(Value::as_str).map(str::to_owned);
        let trace = Trace {
            version: VERSION,
            id,
            session: session_of(&headers, file),
            seq: 0,
            recorded_at: self.started.text,
            client: text("user-agent").unwrap_or_default(),
            mode: imported_mode(importer),
            upstream: None,
            request: RecordedRequest { method: self.method, path, headers, body },
            response: RecordedResponse { status, headers: answer_headers, events: Vec::new(), body: read.body },
            timing: Timing { e2e_us: e2e_us.filter(|_| read.outcome == ExchangeOutcome::Complete), ..Timing::default() },
            outcome: read.outcome,
        };
        let mut exchange = ImportedExchange { trace, place: self.place, credentials, missing: Vec::new() };
        exchange.missing.extend(read.missing.map(str::to_owned));
        if let Some(lack) = answer_lack(&exchange.trace) {
            (exchange.trace.outcome, exchange.trace.timing.e2e_us) = (ExchangeOutcome::Truncated, None);
            exchange.missing.push(lack);
        }
        Ok(exchange)
    }
}

/// What a trace's answer lacks, so that it is not whole.
fn answer_lack(trace: &Trace) -> Option<String> {
    if trace.outcome != ExchangeOutcome::Complete {
        return None;
    }
    let lack = |fault: BodyFault| match fault {
        BodyFault::Field { .. } => format!("a whole answer{fault}"),
        _ => "a whole answer".to_owned(),
    };
    if !asks_for_message(trace) {
        return read_body::<Map<String, Value>>(&trace.response.body).err().map(lack);
    }
    match read_body::<Message>(&trace.response.body) {
        Err(fault) => Some(lack(fault)),
        Ok(Message { stop_reason: None, .. }) => Some("the reason why the answer ended".to_owned()),
        Ok(message) => has_malformed_call(&message).then(|| "the whole arguments of a call".to_owned()),
    }
}

/// Whether a call has arguments that are no object, and did not break off where the answer ended.
fn has_malformed_call(message: &Message) -> bool {
    let last = message.content.len().saturating_sub(1);
    message.content.iter().enumerate().any(|(at, block)| match block {
        ContentBlock::ToolUse { input, .. } => is_malformed(input, CallEnd::of(message.stop_reason.as_ref(), at == last)),
        _ => false,
    })
}

/// A body as it was before it was compressed.
///
/// # Errors
/// It is damaged, or compressed in a way that nobody knows.
pub(super) fn decompress(headers: &Headers, body: &[u8]) -> Option<Vec<u8>> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    decompressed(&map, body).ok().map(std::borrow::Cow::into_owned)
}

/// The path and query of an address.
pub(super) fn path_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return url };
    rest.find('/').map_or("/", |start| &rest[start..])
}

/// Headers that stand in a file as an object, in which one that came more than once has a list.
pub(super) fn pairs_of(headers: Map<String, Value>) -> Headers {
    let values = |value: Value| match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = headers.into_iter().flat_map(|(name, value)| values(value).into_iter().map(move |one| (name.clone(), one)));
    pairs.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, text(value))).collect()
}

/// Headers as a trace has them: names in lower case, and a list of values where a name came more than once. Those that are parts
/// of HTTP/2's first line are none.
pub(super) fn by_name(headers: Headers) -> Map<String, Value> {
    let mut map: Map<String, Value> = Map::new();
    for (name, value) in headers.into_iter().filter(|(name, _)| !name.starts_with(':')) {
        let value = Value::String(value);
        match map.get_mut(&name.to_ascii_lowercase()) {
            None => drop(map.insert(name.to_ascii_lowercase(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    map
}

/// The session that Claude Code says it is, or else the file's name. A sub-agent's requests are a session of their own.
fn session_of(headers: &Map<String, Value>, file: &Path) -> String {
    let session = session_in_headers(|name| headers.get(name).and_then(Value::as_str))
        .unwrap_or_else(|| stem(file).file_name().unwrap_or_default().to_string_lossy().into_owned());
    session_name(&session)
}

/// An id in the form of a UUID that is the same each time the exchange is imported.
fn id_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(id).into_uuid().to_string()
}

impl Read {
    /// Of what is not there.
    fn nothing() -> Self {
        Self { body: Value::Null, outcome: ExchangeOutcome::Truncated, missing: None }
    }
}

fn read_answer(endpoint: Endpoint, status: u16, headers: &Map<String, Value>, body: Option<Body>) -> Result<Read, &'static str> {
    let is_success = (200..300).contains(&status);
    let Some(body) = body else {
        // An error is one also if its words were not kept.
        let outcome = if is_success { ExchangeOutcome::Truncated } else { ExchangeOutcome::UpstreamError };
        return Ok(Read { outcome, missing: Some("the answer's body"), ..Read::nothing() });
    };
    let is_stream = headers.get("content-type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body = match body {
        Body::Bytes(stream) if is_stream => return read_stream(endpoint, &stream),
        body => body.into_value(),
    };
    let outcome = if is_success { ExchangeOutcome::Complete } else { ExchangeOutcome::UpstreamError };
    Ok(Read { body, outcome, ..Read::nothing() })
}

/// The message that a stream spells. A trace says when each event came, so those without a time are not kept.
fn read_stream(endpoint: Endpoint, body: &[u8]) -> Result<Read, &'static str> {
    let frames = frames_of(body).ok_or("an event of its answer is larger than any is")?;
    if endpoint != Endpoint::Messages {
        return Err(
            "its answer is a stream of another protocol than Anthropic's, and the file does not say when its events came",
        );
    }
    let mut signs = frames.iter().map(|frame| StreamSign::of_event(endpoint, &frame.name(), &frame.data));
    let end = signs.rfind(|sign| *sign != StreamSign::GoesOn);
    let (outcome, missing) = match end {
        Some(StreamSign::Fails) => (ExchangeOutcome::UpstreamError, None),
        Some(_) => (ExchangeOutcome::Complete, None),
        None => (ExchangeOutcome::Truncated, Some("the answer's end")),
    };
    let events: Vec<RecordedEvent> = frames.into_iter().map(|frame| event_of(frame, 0)).collect();
    Ok(Read { body: assemble(&events), outcome, missing })
}

/// The events of a whole stream; `None` if one is larger than any is.
pub(super) fn frames_of(stream: &[u8]) -> Option<Vec<Frame>> {
    let mut splitter = Splitter::default();
    let mut frames: Vec<Frame> = splitter.push(stream).ok()?;
    frames.extend(splitter.finish());
    Some(frames)
}

/// An event as a trace has it, so many microseconds after the request.
pub(super) fn event_of(frame: Frame, at_us: u64) -> RecordedEvent {
    let data = from_json(frame.data.as_bytes());
    RecordedEvent { at_us, event: frame.name(), data: data.unwrap_or_else(|_| Value::String(frame.data.clone())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_that_calendars_do_not_hold_in_utc_is_none() {
        for (text, utc) in [
            ("2026-11-28T04:06:49.5Z", Some("2026-11-28T04:06:49.5Z")),
            ("2026-11-28T04:06:49+02:00", Some("2026-11-28T02:06:49Z")),
            ("9999-12-31T23:59:59+23:59", Some("9999-12-31T00:00:59Z")),
            ("9999-12-31T23:59:59-23:59", None),
            ("0000-01-01T00:00:00+00:01", None),
            ("yesterday", None),
        ] {
            let started = Started::parse(text);
            assert_eq!(started.as_ref().ok().map(|started| started.text.as_str()), utc, "{text}");
            assert!(started.err().is_none_or(|error| error.starts_with(&format!("its time, {text}, is none: "))));
        }
    }

    #[test]
    fn a_header_that_came_more_than_once_is_several() {
        let logged = json!({"cookie": ["a=1", "b=2"], "content-length": 7, "host": "h", "none": null});
        let pairs = [("cookie", "a=1"), ("cookie", "b=2"), ("content-length", "7"), ("host", "h")];
        assert_eq!(pairs_of(logged.as_object().unwrap().clone()), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
