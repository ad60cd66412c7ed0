//! Finding and replacing secrets.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use super::names::{REDACTED, is_secret_field, is_secret_header};
use super::spans;

/// Shorter credentials are dummies that may be ordinary words. Removing those everywhere would only damage the trace.
const MIN_CREDENTIAL: usize = 8;

/// Finds and replaces secrets.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// The client's own credentials, which are secrets wherever they appear.
    credentials: Vec<String>,
}

impl Redactor {
    /// A redactor that knows the credentials in these request headers and in this path's query.
    pub fn for_request<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, path: &str) -> Self {
        let mut credentials: Vec<String> = Vec::new();
        for (_, value) in headers.into_iter().filter(|(name, _)| is_secret_header(name)) {
            // Each part of `Bearer abc` or `a=b; c=d` is as secret as the whole.
            credentials.extend(value.split([' ', ';', ',']).map(|part| part.trim().to_owned()));
            credentials.extend(value.split(';').filter_map(|cookie| Some(cookie.split_once('=')?.1.trim().to_owned())));
            credentials.push(value.trim().to_owned());
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let secret_parameters =
            query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| is_secret_header(name));
        credentials.extend(secret_parameters.map(|(_, value)| value.to_owned()));
        credentials.retain(|value| value.len() >= MIN_CREDENTIAL);
        credentials.sort();
        credentials.dedup();
        Self { credentials }
    }

    /// Headers as a trace has them: a string per name, or a list of strings if the name came more than once.
    pub fn headers<'a>(&self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in headers {
            let value = if is_secret_header(name) { REDACTED.into() } else { self.text(value) };
            let value = Value::String(value.into_owned());
            match map.get_mut(name) {
                None => drop(map.insert(name.to_owned(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        map
    }

    /// A path with its query, in which parameters named like secrets lose their values.
    pub fn path(&self, path: &str) -> String {
        let Some((path, query)) = path.split_once('?') else { return self.text(path).into_owned() };
        let pairs: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret_header(name) => format!("{name}={REDACTED}"),
                _ => self.text(pair).into_owned(),
            })
            .collect();
        format!("{}?{}", self.text(path), pairs.join("&"))
    }

    /// A text with all secrets replaced.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            out.push_str(&text[at..span.start]);
            out.push_str(REDACTED);
            at = span.end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    /// Replaces secrets in all strings and keys of a JSON value, and the values of fields named like secrets.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.text(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                if fields.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *fields = std::mem::take(fields).into_iter().map(|(k, v)| (self.text(&k).into_owned(), v)).collect();
                }
                for (key, value) in fields {
                    match value {
                        Value::String(text) if is_secret_field(key) && !text.is_empty() => *text = REDACTED.into(),
                        value => self.json(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// The byte ranges of all secrets, in order and with gaps between them.
    pub(super) fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = spans::well_known(text);
        for credential in &self.credentials {
            spans.extend(text.match_indices(credential.as_str()).map(|(start, found)| start..start + found.len()));
        }
        spans::merge(spans)
    }

    /// Whether more text could complete or extend a secret at the end of this one.
    pub(super) fn is_open(&self, text: &str) -> bool {
        spans::is_open(text) || self.credentials.iter().any(|credential| spans::ends_in_prefix_of(text, credential))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor() -> Redactor {
        Redactor::for_request(
            [("authorization", "Bearer abcdefgh-own"), ("x-api-key", "own-key-123"), ("cookie", "a=sessioncookie; b=2")],
            "/v1/x?api_key=query-secret",
        )
    }

    #[test]
    fn headers_named_like_secrets_lose_their_value() {
        let headers = redactor().headers([
            ("X-Api-Key", "v"),
            ("authorization", "Bearer v"),
            ("x-amz-security-token", "v"),
            ("set-cookie", "v"),
            ("set-cookie", "w"),
            ("anthropic-ratelimit-tokens-limit", "100"),
            ("x-echo", "own-key-123!"),
            ("accept", "a"),
            ("accept", "b"),
        ]);
        assert_eq!(
            Value::Object(headers),
            json!({"X-Api-Key": "[redacted]", "authorization": "[redacted]", "x-amz-security-token": "[redacted]",
                "set-cookie": ["[redacted]", "[redacted]"], "anthropic-ratelimit-tokens-limit": "100",
                "x-echo": "[redacted]!", "accept": ["a", "b"]})
        );
    }

    #[test]
    fn query_parameters_named_like_secrets_lose_their_value() {
        assert_eq!(redactor().path("/v1/messages?beta=true&api_key=abc&x"), "/v1/messages?beta=true&api_key=[redacted]&x");
        assert_eq!(redactor().path("/v1/own-key-123"), "/v1/[redacted]");
    }

    #[test]
    fn the_clients_credentials_are_found_anywhere() {
        for secret in ["abcdefgh-own", "own-key-123", "sessioncookie", "query-secret"] {
            let mut body = json!({"a": [format!("x{secret}y")], secret: 1});
            redactor().json(&mut body);
            assert_eq!(body, json!({"a": ["x[redacted]y"], "[redacted]": 1}), "{secret}");
        }
    }

    #[test]
    fn dummy_credentials_do_not_punch_holes() {
        let redactor = Redactor::for_request([("x-api-key", "dummy")], "/");
        assert_eq!(redactor.text("a dummy text"), "a dummy text");
    }

    #[test]
    fn body_fields_named_like_secrets_lose_their_value_but_schemas_stay() {
        let mut body = json!({"api_key": "v", "Authorization": "v", "max_tokens": 5, "password": "",
            "properties": {"apiKey": {"type": "string"}}});
        Redactor::default().json(&mut body);
        assert_eq!(
            body,
            json!({"api_key": "[redacted]", "Authorization": "[redacted]", "max_tokens": 5, "password": "",
                "properties": {"apiKey": {"type": "string"}}})
        );
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let mut body = json!({"api_key": "v", "t": "sk-ant-api03-abc and \"password\": \"hunter2\" Bearer abcdefgh-own"});
        redactor().json(&mut body);
        let once = body.clone();
        redactor().json(&mut body);
        assert_eq!(body, once);
        assert_eq!(body["t"], "[redacted] and \"password\": \"[redacted]\" [redacted]");
    }
}
