//! Which headers are forwarded: all except those that concern a single connection (RFC 9110, 7.6.1).

use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING};

use crate::server::TOKEN_HEADER;

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The request headers for the upstream. `host` and `content-length` are set anew by the HTTP client, and a run's token is for
/// its own port.
pub(super) fn for_upstream(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, |name| ![HOST, CONTENT_LENGTH, TOKEN_HEADER].contains(name))
}

/// The response headers for the client. A length that does not count is not for it.
pub(super) fn for_client(headers: &HeaderMap) -> HeaderMap {
    let is_length_void = headers.contains_key(TRANSFER_ENCODING);
    filtered(headers, |name| !(is_length_void && name == CONTENT_LENGTH))
}

/// How many bytes the body has, if its headers say so. They do not where it comes in chunks, whatever `content-length` is beside
/// that (RFC 9112, 6.3).
pub(super) fn body_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH).filter(|_| !headers.contains_key(TRANSFER_ENCODING));
    length.and_then(|length| length.to_str().ok()?.parse().ok())
}

/// The wanted headers without hop-by-hop ones. A new map, because removing headers from a map changes the order of the rest.
fn filtered(headers: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let listed = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let listed: Vec<HeaderName> = listed.filter_map(|name| name.trim().parse().ok()).collect();
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        if wanted(name) && !HOP_BY_HOP.contains(&name.as_str()) && !listed.contains(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Names and values as text. Bytes that are not UTF-8 are replaced.
pub(super) fn as_text(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_and_those_listed_in_connection_are_not_forwarded() {
        let headers: HeaderMap = [
            ("host", "127.0.0.1:1"),
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("x-api-key", "k"),
            ("accept-encoding", "gzip, br"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
        let names = |headers: HeaderMap| headers.keys().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(for_upstream(&headers)), ["x-api-key", "accept-encoding"]);
        assert_eq!(names(for_client(&headers)), ["host", "x-api-key", "accept-encoding"]);
        assert_eq!(body_length(&headers), None, "chunks have no length");
        let whole = headers.iter().filter(|(name, _)| *name != TRANSFER_ENCODING);
        let whole: HeaderMap = whole.map(|(name, value)| (name.clone(), value.clone())).collect();
        assert_eq!(names(for_client(&whole)), ["host", "content-length", "x-api-key", "accept-encoding"]);
        assert_eq!(body_length(&whole), Some(3));
    }
}
