//! HAR 1.2 (HTTP archives), as browsers' developer tools, Charles, Proxyman and mitmproxy write them.

mod export;
mod own;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use self::own::Own;
use super::elements::{ElementsError, for_each_element};
use super::http::{Body, Headers, HttpAnswer, HttpExchange, Started, micros};
use super::import::ImportError;
use super::importer::{Found, ImportedExchange, Importer, Passed, Source};
use crate::wire::from_json;

/// The importer.
pub(super) struct Har;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    /// Milliseconds from the request to the answer's end.
    time: Option<f64>,
    request: Request,
    response: Response,
    /// What only `anyclaude trace export` has written.
    #[serde(rename = "_anyclaude")]
    own: Option<Own>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<Content>,
}

#[derive(Deserialize)]
struct Response {
    /// 0 if none came.
    status: i64,
    #[serde(default)]
    headers: Vec<Header>,
    content: Option<Content>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// A body, decompressed.
#[derive(Deserialize)]
struct Content {
    text: Option<String>,
    /// `base64`, or nothing.
    encoding: Option<String>,
}

impl Importer for Har {
    fn name(&self) -> &'static str {
        "har"
    }

    fn title(&self) -> &'static str {
        "HTTP archives, HAR 1.2"
    }

    fn lacks(&self) -> &'static str {
        "events and their times"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        let is_key = |key: &[u8]| start.windows(key.len()).any(|bytes| bytes == key);
        start.trim_ascii_start().starts_with(b"{") && is_key(b"\"log\"") && (is_key(b"\"entries\"") || is_key(b"\"creator\""))
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        let mut seen = 0;
        let read = for_each_element(reader, &["log", "entries"], &mut |entry| {
            seen += 1;
            let place = format!("entry {seen}");
            let read = from_json(entry).map_err(|error| format!("not an entry of an archive: {error}"));
            found(
                read.and_then(|entry| self.found(&place, entry, path))
                    .unwrap_or_else(|reason| Found::Passed(Passed { place, reason })),
            )
        });
        read.map_err(|error| match error {
            ElementsError::Taking(error) => error,
            ElementsError::Read(error) => error.into(),
            malformed @ ElementsError::Malformed { .. } => {
                let what = if seen == 0 { "no HTTP archive".to_owned() } else { format!("broken behind entry {seen}") };
                ImportError::Malformed { path: path.to_owned(), reason: format!("{what}: {malformed}") }
            }
        })
    }
}

impl Har {
    fn found(&self, place: &str, mut entry: Entry, path: &Path) -> Result<Found, String> {
        match entry.own.take() {
            Some(own) => own.trace(entry).map(|trace| Found::Exchange(Box::new(ImportedExchange { trace, missing: Vec::new() }))),
            None => exchange(place, entry).map(|exchange| exchange.into_found(self, path)),
        }
    }
}

fn exchange(place: &str, entry: Entry) -> Result<HttpExchange, String> {
    let Entry { started_date_time, time, request, response, .. } = entry;
    let started = started(&started_date_time)?;
    let status = u16::try_from(response.status).unwrap_or_default();
    let answer = (status > 0).then(|| HttpAnswer {
        status,
        headers: pairs(response.headers),
        body: response.content.and_then(bytes).map(Body::Bytes),
        e2e_us: time.and_then(|ms| micros(ms / 1e3)),
    });
    let body = request.post_data.and_then(bytes).map(Body::Bytes);
    let headers = pairs(request.headers);
    Ok(HttpExchange { place: place.to_owned(), started, method: request.method, url: request.url, headers, body, answer })
}

fn started(text: &str) -> Result<Started, String> {
    Started::parse(text).map_err(|error| format!("its time, {text}, is none: {error}"))
}

fn pairs(headers: Vec<Header>) -> Headers {
    headers.into_iter().map(|Header { name, value }| (name, value)).collect()
}

fn bytes(Content { text, encoding }: Content) -> Option<Vec<u8>> {
    let text = text?;
    if encoding.as_deref() == Some("base64") { STANDARD.decode(text).ok() } else { Some(text.into_bytes()) }
}
