//! Heads that hyper refuses by itself, because it cannot read them: it answers with a bare status, and no layer of ours sees the
//! request. Clients expect the protocol's envelope, so it takes the bare answer's place on its way out.

use super::observe::RequestId;
use crate::wire::{ErrorBody, ErrorKind};

/// Our answer in place of these bytes; `None` if they are not hyper's own refusal. An application may answer with the same bytes: only
/// what is written while it has no request can be hyper's. `to_head`: the request is a HEAD, whose answer has no body.
pub(super) fn in_envelope(written: &[u8], to_head: bool) -> Option<Vec<u8>> {
    if !written.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    lines.find(|line| line.eq_ignore_ascii_case("content-length: 0"))?;
    let reason = match status.get(..3)? {
        "400" => "the request's head is no HTTP: its first line or a header is malformed",
        "414" => "the request's address is longer than 64 KiB",
        "431" => "the request's head has more than 100 headers or is longer than 400 KiB",
        _ => return None,
    };
    let id = RequestId::new();
    let mut error = ErrorBody::new(ErrorKind::InvalidRequest, reason);
    error.request_id = Some(id.to_string());
    let body = error.to_json().to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\nrequest-id: {id}\r\ncontent-length: {}",
        body.len()
    );
    let body = if to_head { "" } else { &body };
    Some(format!("{head}\r\n\r\n{body}").into_bytes())
}

#[test]
fn only_a_bare_refusal_is_replaced() {
    let replaced = |head: &str| in_envelope(format!("{head}\r\n\r\n").as_bytes(), false);
    let refusal = "HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0";
    let answer = String::from_utf8(replaced(refusal).unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 414 URI Too Long\r\n") && answer.contains("invalid_request_error"), "{answer}");
    let to_head = in_envelope(format!("{refusal}\r\n\r\n").as_bytes(), true).unwrap();
    assert!(to_head.starts_with(b"HTTP/1.1 414 URI Too Long\r\n") && to_head.ends_with(b"\r\n\r\n"));
    for other in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 20",
    ] {
        assert_eq!(replaced(other), None, "{other}");
    }
    assert_eq!(in_envelope(b"data: x", false), None);
}
