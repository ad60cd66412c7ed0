//! mitmproxy's flow files, as `mitmdump -w FILE` and the file menus of its programs write them.

mod tnetstring;

use std::io;

use self::tnetstring::Item;
use super::http::{Body, Headers, HttpAnswer, HttpExchange, Started, decompress, micros};
use super::import_error::ImportError;
use super::importer::{Found, Importer, Passed, Source};

/// The version of flows that is read: that of mitmproxy 11 and 12.
const FLOW_VERSION: i64 = 21;

/// The importer.
pub(super) struct Mitmproxy;

impl Importer for Mitmproxy {
    fn name(&self) -> &'static str {
        "mitmproxy"
    }

    fn title(&self) -> &'static str {
        "mitmproxy's flow files"
    }

    fn lacks(&self) -> &'static str {
        "events and their times"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        // A dictionary whose first key is a text or, in old files, bytes: `1848:9:websocket;`.
        let Some(key) = without_number(start).and_then(without_number) else { return false };
        let name = key.iter().take_while(|byte| byte.is_ascii_lowercase() || **byte == b'_').count();
        name > 0 && matches!(key.get(name), Some(b';' | b','))
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        for number in 1.. {
            let place = format!("flow {number}");
            match tnetstring::next(reader) {
                Ok(None) => break,
                Ok(Some(flow)) => found(match exchange(&place, &flow) {
                    Ok(Some(exchange)) => exchange.into_found(self, path),
                    Ok(None) => Found::Unrelated,
                    Err(reason) => Found::Passed(Passed { place, reason }),
                })?,
                // What is behind it cannot be found any more.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    found(Found::Passed(Passed { place: format!("{place} and all behind it"), reason: error.to_string() }))?;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The exchange of a flow; `None` if it is none of HTTP.
fn exchange(place: &str, flow: &Item) -> Result<Option<HttpExchange>, String> {
    if flow.get("type").as_text() != Some("http") {
        return Ok(None);
    }
    match flow.get("version").as_int() {
        Some(FLOW_VERSION) => {}
        other => {
            let found = other.map_or_else(|| "without a version".to_owned(), |version| format!("of version {version}"));
            return Err(format!(
                "a flow {found}, but anyclaude reads version {FLOW_VERSION}; open the file with a current mitmproxy and save it again"
            ));
        }
    }
    let request = flow.get("request");
    let text = |field: &str| request.get(field).as_text().unwrap_or_default().to_owned();
    let started = request.get("timestamp_start").as_seconds().unwrap_or_default();
    let (headers, body) = content(request);
    let response = flow.get("response");
    let answer = response.get("status_code").as_int().map(|status| {
        let (headers, body) = content(response);
        let ended = response.get("timestamp_end").as_seconds();
        HttpAnswer {
            status: u16::try_from(status).unwrap_or_default(),
            headers,
            body: body.map(Body::Bytes),
            e2e_us: ended.and_then(|ended| micros(ended - started)),
        }
    });
    let place = place.to_owned();
    Ok(Some(HttpExchange {
        place,
        started: Started::at_seconds(started)?,
        method: text("method"),
        url: text("path"),
        headers,
        body: body.map(Body::Bytes),
        answer,
    }))
}

/// The headers and the body of a message, which is kept as it was sent.
fn content(message: &Item) -> (Headers, Option<Vec<u8>>) {
    let text = |item: Option<&Item>| item.and_then(Item::as_bytes).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let pairs = message.get("headers").as_list().iter().map(Item::as_list);
    let headers: Headers = pairs.filter_map(|pair| Some((text(pair.first())?, text(pair.get(1))?))).collect();
    let body = message.get("content").as_bytes().and_then(|body| decompress(&headers, body));
    (headers, body)
}

/// What is behind a number and a colon.
fn without_number(bytes: &[u8]) -> Option<&[u8]> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.get(digits..)?.strip_prefix(b":").filter(|_| digits > 0)
}
