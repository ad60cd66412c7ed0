//! claude-trace's logs, `.claude-trace/log-….jsonl`: a request and its answer a line.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{Body, HttpAnswer, HttpExchange, Started, micros, pairs_of};
use super::import_error::ImportError;
use super::importer::{Found, Importer, Passed, Source};
use super::lines::{for_each_line, lines_of};
use crate::wire::from_json;

/// The importer.
pub(super) struct ClaudeTrace;

#[derive(Deserialize)]
struct Pair {
    request: Request,
    response: Option<Response>,
    /// When it was written: no other tool's pairs have it.
    logged_at: Value,
}

#[derive(Deserialize)]
struct Request {
    /// Seconds since 1970.
    timestamp: f64,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Value,
}

#[derive(Deserialize)]
struct Response {
    timestamp: f64,
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    /// Of an answer in one piece.
    #[serde(default)]
    body: Value,
    /// Of a stream.
    body_raw: Option<String>,
}

impl Importer for ClaudeTrace {
    fn name(&self) -> &'static str {
        "claude-trace"
    }

    fn title(&self) -> &'static str {
        "claude-trace's logs"
    }

    fn lacks(&self) -> &'static str {
        "events and their times"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        // A line is often longer than what is seen of it.
        let Some(line) = lines_of(start).next() else { return false };
        line.starts_with(b"{\"request\":{\"timestamp\":") || from_json::<Pair>(line).is_ok_and(|pair| !pair.logged_at.is_null())
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        for_each_line(reader, |number, line| {
            let place = format!("line {number}");
            let pair = from_json(line).map_err(|error| format!("no pair of a request and an answer: {error}"));
            found(match pair.and_then(|pair| exchange(&place, pair)) {
                Ok(exchange) => exchange.into_found(self, path),
                Err(reason) => Found::Passed(Passed { place, reason }),
            })
        })
    }
}

fn exchange(place: &str, Pair { request, response, .. }: Pair) -> Result<HttpExchange, String> {
    let answer = response.map(|response| HttpAnswer {
        status: response.status_code,
        headers: pairs_of(response.headers),
        body: response.body_raw.map(|text| Body::Bytes(text.into_bytes())).or_else(|| body(response.body)),
        e2e_us: micros(response.timestamp - request.timestamp),
    });
    Ok(HttpExchange {
        place: place.to_owned(),
        started: Started::at_seconds(request.timestamp)?,
        method: request.method,
        url: request.url,
        headers: pairs_of(request.headers),
        body: body(request.body),
        answer,
    })
}

fn body(logged: Value) -> Option<Body> {
    match logged {
        Value::Null => None,
        Value::String(text) => Some(Body::Bytes(text.into_bytes())),
        json => Some(Body::Json(json)),
    }
}
