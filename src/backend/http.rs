//! What the backends behind HTTP share: the client, and how its errors read.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};

use super::BackendError;
use crate::convert::CacheKey;
use crate::net::{is_loopback, root_cause};
use crate::wire::MessagesRequest;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may be silent. Anthropic and anyclaude ping every few seconds; others may not ping during a prefill.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(600);

/// A client for the server at this base URL. Fails where it is no HTTP URL.
pub fn client(base_url: &str) -> Result<Client, BackendError> {
    let unusable = |reason| BackendError::Unreachable { address: base_url.to_owned(), reason };
    let url = check(base_url).map_err(unusable)?;
    let mut client = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(SILENCE_TIMEOUT);
    if is_loopback(&url) {
        client = client.no_proxy();
    }
    client.build().map_err(|error| unusable(root_cause(&error)))
}

/// The headers that tell caches and proxies on the way what a request shares with others.
pub fn cache_headers(request: &MessagesRequest) -> HeaderMap {
    let CacheKey { system, shared } = CacheKey::of(request);
    let mut headers = HeaderMap::new();
    for (name, hash) in [("x-cache-system", system), ("x-cache-hash", shared)] {
        // Hexadecimal digits are always allowed.
        headers.extend(HeaderValue::from_str(&hash).ok().map(|value| (reqwest::header::HeaderName::from_static(name), value)));
    }
    headers
}

/// When to come back, in the words of `retry-after`. OpenAI also sends milliseconds.
pub fn retry_after(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let from_ms = || text("retry-after-ms")?.parse::<u64>().ok().map(|ms| ms.div_ceil(1_000).to_string());
    text(RETRY_AFTER.as_str()).map(str::to_owned).or_else(from_ms)
}

/// A header's value that no log shows; `source` is where the secret came from.
pub fn secret(scheme: &str, secret: &str, source: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("{scheme}{secret}"))
        .map_err(|_| format!("{source} has characters that no HTTP header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The start of a text that may be long.
pub fn shorten(text: &str) -> String {
    const CHARACTERS: usize = 200;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The base URL, or why it is none.
fn check(base_url: &str) -> Result<Url, String> {
    let url = Url::parse(base_url).map_err(|error| format!("not a URL ({error}): it should start with http:// or https://"))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("not a URL that starts with http:// or https://".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_found() {
        for (name, value, expected) in [
            ("retry-after", "7", Some("7")),
            ("retry-after-ms", "1200", Some("2")),
            ("retry-after-ms", "soon", None),
            ("x-other", "1", None),
        ] {
            let headers =
                HeaderMap::from_iter([(reqwest::header::HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers).as_deref(), expected, "{name}: {value}");
        }
    }
}
