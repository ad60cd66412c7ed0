//! What the backends behind HTTP share: the client, its headers, and its errors.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, VIA};
use reqwest::{Client, Response, Url, redirect};
use serde::de::DeserializeOwned;

use super::{BackendError, Protocol, TimeLimits};
use crate::convert::CacheKey;
use crate::net::bounds::{self, BodyError};
use crate::net::{is_loopback, root_cause};
use crate::trace::redact::Redactor;
use crate::wire::{ErrorBody, ErrorKind, MessagesRequest};

/// A client for the server at this base URL.
///
/// # Errors
/// The base URL is not an HTTP URL.
pub(crate) fn client(base_url: &str, limits: TimeLimits) -> Result<Client, BackendError> {
    let unusable = |reason| BackendError::Unusable { address: base_url.to_owned(), reason };
    let url = parse_base_url(base_url).map_err(unusable)?;
    // Whoever a server sends us to must not get the user's key and prompt.
    let redirects = redirect::Policy::none();
    let TimeLimits { connect, silence, answer } = limits;
    let mut client = Client::builder().connect_timeout(connect).read_timeout(silence).redirect(redirects);
    if let Some(answer) = answer {
        client = client.timeout(answer);
    }
    if is_loopback(&url) {
        client = client.no_proxy();
    }
    client.build().map_err(|error| unusable(root_cause(&error)))
}

/// The headers of a request: through which servers it has come, and, for caches and proxies on the way, what it shares with
/// others.
pub(crate) fn request_headers(request: &MessagesRequest) -> HeaderMap {
    let CacheKey { system, shared } = CacheKey::of(request);
    let mut headers = via_header(request);
    for (name, hash) in [("x-cache-system", system), ("x-cache-hash", shared)] {
        // Cannot fail: a header may hold hexadecimal digits.
        headers.extend(HeaderValue::from_str(&hash).ok().map(|value| (HeaderName::from_static(name), value)));
    }
    headers
}

/// The header with the servers that a request has come through; none if there are none.
pub(crate) fn via_header(request: &MessagesRequest) -> HeaderMap {
    let via = request.via.to_header().and_then(|via| HeaderValue::from_str(&via).ok());
    via.map(|via| (VIA, via)).into_iter().collect()
}

/// A header value that no log shows.
///
/// # Errors
/// The secret has characters that no header may have. The text names its `source`, not the secret.
pub(crate) fn secret(scheme: &str, secret: &str, source: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("{scheme}{secret}"))
        .map_err(|_| format!("{source} has characters that no HTTP header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Checks that a response is a stream of events.
///
/// # Errors
/// Its content type, if it is another one; its compression, which no request here asks for.
pub(crate) fn require_event_stream(response: &Response) -> Result<(), String> {
    if let Some(compression) = compression(response.headers()) {
        return Err(format!("a body in content-encoding {compression}"));
    }
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
    if content_type.starts_with("text/event-stream") { Ok(()) } else { Err(content_type.to_owned()) }
}

/// The JSON of a response.
///
/// # Errors
/// It is none, or does not come whole.
pub(crate) async fn json_of<T: DeserializeOwned>(response: Response) -> Result<T, String> {
    let body = bounds::whole(response).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| error.to_string())
}

/// The text of a response, to read and to show. Of one that is compressed, which no request here asks for, what it is.
pub(crate) async fn text_of(response: Response) -> String {
    match compression(response.headers()) {
        Some(compression) => format!("a body in content-encoding {compression}"),
        // A body that breaks off still leaves the status to report.
        None => String::from_utf8_lossy(&bounds::whole(response).await.unwrap_or_default()).into_owned(),
    }
}

/// How a body is compressed, if it is.
fn compression(headers: &HeaderMap) -> Option<String> {
    let applied = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
    let applied: Vec<_> = applied.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")).collect();
    (!applied.is_empty()).then(|| shorten(&applied.join(", ")))
}

/// The error in an error response. `read` finds the server's own error in the body; if it finds none, the message shows the
/// status and the start of the body.
pub(crate) async fn answered(address: &str, response: Response, read: impl FnOnce(&str) -> Option<ErrorBody>) -> BackendError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    if let (true, Some(elsewhere)) = (status.is_redirection(), response.headers().get(LOCATION)) {
        let elsewhere = String::from_utf8_lossy(elsewhere.as_bytes());
        let reason = format!("{address} answered {status}: it sends requests on to {}; give that address", shorten(&elsewhere));
        return BackendError::new(ErrorKind::Api, reason);
    }
    let text = text_of(response).await;
    let body = read(&text).unwrap_or_else(|| {
        let kind = ErrorKind::of_status(status.as_u16());
        ErrorBody::new(kind, format!("{address} answered {status}: {}", shorten(text.trim())))
    });
    BackendError::Answered { status: status.as_u16(), body, retry_after }
}

/// The error where reading a stream of events fails.
pub(crate) fn stream_error(protocol: Protocol, address: &str, error: &BodyError) -> BackendError {
    let (address, reason) = (address.to_owned(), error.to_string());
    match error {
        BodyError::Broken(_) => BackendError::Unreachable { address, reason },
        _ => BackendError::Protocol { protocol, address, reason },
    }
}

/// The start of a text that may be long, and may be no text: what would steer a terminal becomes U+FFFD.
pub(crate) fn shorten(text: &str) -> String {
    const CHARACTERS: usize = 200;
    let steers = |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    let mut start: String =
        text.chars().take(CHARACTERS).map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        start.push('…');
    }
    start
}

/// When to try again, as `retry-after` has it: in seconds, or a date. OpenAI also sends milliseconds, which are rounded up.
fn retry_after(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let from_ms = || text("retry-after-ms")?.parse::<u64>().ok().map(|ms| ms.div_ceil(1_000).to_string());
    text(RETRY_AFTER.as_str()).map(str::to_owned).or_else(from_ms)
}

/// A server's address without secrets, as clients and terminals are told it.
pub(crate) fn shown(address: &str) -> String {
    Redactor::installed().text(address).into_owned()
}

fn parse_base_url(base_url: &str) -> Result<Url, String> {
    let url = Url::parse(base_url).map_err(|error| format!("not a URL ({error}): it should start with http:// or https://"))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("not a URL that starts with http:// or https://".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> Response {
        axum::http::Response::builder().status(status).header("retry-after", "7").body(body).unwrap().into()
    }

    #[tokio::test]
    async fn an_error_without_json_gets_the_kind_of_its_status() {
        for (status, kind) in [
            (400, ErrorKind::InvalidRequest),
            (402, ErrorKind::InvalidRequest),
            (429, ErrorKind::RateLimit),
            (502, ErrorKind::Api),
            (503, ErrorKind::Overloaded),
            (529, ErrorKind::Overloaded),
        ] {
            let error = answered("http://a", response(status, " <html> "), |_| None).await;
            let BackendError::Answered { status: kept, body, retry_after } = error else { panic!("{error:?}") };
            assert_eq!((kept, body.kind(), retry_after.as_deref()), (status, kind, Some("7")));
            assert!(body.error.message.starts_with(&format!("http://a answered {status}")), "{body:?}");
            assert!(body.error.message.ends_with(": <html>"), "{body:?}");
        }
    }

    #[tokio::test]
    async fn of_a_compressed_answer_the_compression_is_named_and_no_byte_shown() {
        let bytes: &[u8] = &[0x1f, 0x8b, 8, 0, 0x1b, b'[', b'2', b'J'];
        let response = |encoding: &str| -> Response {
            let head = axum::http::Response::builder().status(500).header("content-encoding", encoding);
            head.header("content-type", "text/event-stream").body(bytes).unwrap().into()
        };
        let error = answered("http://a", response("gzip"), |_| None).await;
        insta::assert_snapshot!(error, @"api_error: http://a answered 500 Internal Server Error: a body in content-encoding gzip");
        insta::assert_snapshot!(require_event_stream(&response("br")).unwrap_err(), @"a body in content-encoding br");
        assert_eq!(require_event_stream(&response("identity")), Ok(()));
        // One that does not say what it is.
        let error = answered("http://a", response("identity"), |_| None).await.to_string();
        assert!(!error.contains(char::is_control) && error.contains('\u{fffd}'), "{error:?}");
    }

    #[tokio::test]
    async fn the_servers_own_error_is_kept() {
        let read = |text: &str| (text == "{}").then(|| ErrorBody::new(ErrorKind::Permission, "no"));
        let error = answered("http://a", response(418, "{}"), read).await;
        assert_eq!(error.to_string(), "permission_error: no");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_milliseconds() {
        for (name, value, expected) in [
            ("retry-after", "7", Some("7")),
            ("retry-after-ms", "1200", Some("2")),
            ("retry-after-ms", "soon", None),
            ("x-other", "1", None),
        ] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers).as_deref(), expected, "{name}: {value}");
        }
    }
}
