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
use super::import_error::ImportError;
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
#[serde(rename_all = "camelCase")]
struct Content {
    /// What the header `content-type` says, which some archives leave out.
    mime_type: Option<String>,
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
        // Other files may have such a field further in: a tool's schema, for example.
        let words: [&[u8]; 4] = [b"{", b"\"log\"", b":", b"{"];
        let mut rest = Some(start);
        for word in words {
            rest = rest.and_then(|rest| rest.trim_ascii_start().strip_prefix(word));
        }
        rest.is_some()
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
            Some(own) => {
                let (place, credentials, missing) = (place.to_owned(), Vec::new(), Vec::new());
                let exchange = |trace| ImportedExchange { trace, place, credentials, missing };
                own.trace(entry).map(|trace| Found::Exchange(Box::new(exchange(trace))))
            }
            None => exchange(place, entry).map(|exchange| exchange.into_found(self, path)),
        }
    }
}

fn exchange(place: &str, entry: Entry) -> Result<HttpExchange, String> {
    let Entry { started_date_time, time, request, response, .. } = entry;
    let started = Started::parse(&started_date_time)?;
    let status = u16::try_from(response.status).unwrap_or_default();
    let answer = (status > 0).then(|| HttpAnswer {
        status,
        headers: answer_headers(response.headers, response.content.as_ref()),
        body: response.content.and_then(bytes).map(Body::Bytes),
        e2e_us: time.and_then(|ms| micros(ms / 1e3)),
    });
    let body = request.post_data.and_then(bytes).map(Body::Bytes);
    let headers = pairs(request.headers);
    Ok(HttpExchange { place: place.to_owned(), started, method: request.method, url: request.url, headers, body, answer })
}

fn pairs(headers: Vec<Header>) -> Headers {
    headers.into_iter().map(|Header { name, value }| (name, value)).collect()
}

/// The headers of an answer, of which its kind tells how to read it.
fn answer_headers(headers: Vec<Header>, content: Option<&Content>) -> Headers {
    let mut headers = pairs(headers);
    // What browsers say of an answer of no kind.
    let kind = content.and_then(|content| content.mime_type.clone()).filter(|kind| !kind.is_empty() && kind != "x-unknown");
    if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("content-type")) {
        headers.extend(kind.map(|kind| ("content-type".to_owned(), kind)));
    }
    headers
}

fn bytes(Content { text, encoding, .. }: Content) -> Option<Vec<u8>> {
    let text = text?;
    if encoding.as_deref() == Some("base64") { STANDARD.decode(text).ok() } else { Some(text.into_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_told_by_its_first_field() {
        for (start, is_archive) in [
            (&b"{\"log\": {\"version\""[..], true),
            (b"{\n  \"log\" : {\n", true),
            (b"{\"tools\": {\"log\": {\"entries\": []}}}", false),
            (b"{\"log\":\"a line of a container's\"}", false),
            (b"", false),
        ] {
            assert_eq!(Har.recognizes(start), is_archive, "{}", String::from_utf8_lossy(start));
        }
    }

    #[test]
    fn the_kind_of_an_answer_stands_in_its_headers_or_beside_them() {
        let kind = |headers: &str, mime_type: &str| {
            let headers = serde_json::from_str(headers).unwrap();
            let content = Content { mime_type: Some(mime_type.to_owned()), text: None, encoding: None };
            answer_headers(headers, Some(&content)).into_iter().map(|(_, value)| value).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kind("[]", "text/event-stream"), "text/event-stream");
        assert_eq!(kind("[]", "x-unknown"), "");
        assert_eq!(kind(r#"[{"name": "Content-Type", "value": "a/b"}]"#, "text/event-stream"), "a/b");
    }
}
