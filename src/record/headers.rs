//! Which headers are forwarded: all except those that concern a single connection (RFC 9110, 7.6.1).

use axum::http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName};

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

/// The headers that are meant for the other end of the exchange.
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, |_| true)
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
        assert_eq!(names(end_to_end(&headers)), ["host", "content-length", "x-api-key", "accept-encoding"]);
    }
}
