//! Replacing secrets in the parts of an exchange.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};

use super::credentials::Credentials;
use super::encoded;
use super::names::{Evidence, REDACTED, evidence_for, is_about_secret, is_secret_header, is_secret_parameter};
use super::scanner::Scanner;
use super::spans::without;
use super::spelling::forget_spelling;
use super::user_patterns::{SecretPattern, UserPatterns};
use super::values::{ValueForm, is_secret};

/// Shorter credentials are dummies that may be ordinary words. Removing those everywhere would only damage the trace.
const MIN_CREDENTIAL: usize = 8;

/// No secret of a known kind is in a shorter text, its name included. In bytes.
const MIN_TEXT: usize = 8;

/// The most times that a part of an address is decoded, where its escapes are escaped again.
const MAX_ENCODED: usize = 4;

/// Finds and replaces secrets: all that are known by themselves, and what the user's own patterns match. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    credentials: Credentials,
    patterns: UserPatterns,
}

impl Redactor {
    /// A redactor that also looks for these patterns of the user's.
    pub fn new(patterns: &[SecretPattern]) -> Self {
        Self { credentials: Credentials::default(), patterns: UserPatterns::new(patterns) }
    }

    /// The same, which also knows the credentials in these request headers and in this path's query.
    pub fn for_request<'a>(&self, headers: impl IntoIterator<Item = (&'a str, &'a str)>, path: &str) -> Self {
        self.knowing(&Self::credentials_in(headers, path))
    }

    /// The credentials in these request headers and in this path's query, each once and sorted.
    pub(crate) fn credentials_in<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>, path: &str) -> Vec<String> {
        let mut credentials: Vec<String> = Vec::new();
        for (_, value) in headers.into_iter().filter(|(name, _)| is_secret_header(name)) {
            credentials.extend(basic_password(value));
            // Each part of `Bearer abc` or `a=b; c=d` is as secret as the whole.
            credentials.extend(value.split([' ', ';', ',']).map(|part| part.trim().to_owned()));
            credentials.extend(value.split(';').filter_map(|cookie| Some(cookie.split_once('=')?.1.trim().to_owned())));
            credentials.push(value.trim().to_owned());
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let secret_parameters =
            query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(name, _)| is_secret_parameter(name));
        credentials.extend(secret_parameters.map(|(_, value)| value.to_owned()));
        credentials.retain(|value| value.len() >= MIN_CREDENTIAL);
        credentials.sort();
        credentials.dedup();
        credentials
    }

    /// The password in an address, as it stands there and as it is meant. A user without one is a token.
    pub(crate) fn credentials_in_address(url: &str) -> Vec<String> {
        let server = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        let Some((user, _)) = server.and_then(|server| server.rsplit_once('@')) else { return Vec::new() };
        let secret = user.split_once(':').map_or(user, |(_, password)| password);
        let meant = percent_decode_str(secret).decode_utf8_lossy().into_owned();
        [secret.to_owned(), meant].into_iter().filter(|secret| secret.len() >= MIN_CREDENTIAL).collect()
    }

    /// The same, which also knows these credentials.
    pub(crate) fn knowing(&self, credentials: &[String]) -> Self {
        // Fails only for gigabytes of credentials, far more than headers have.
        Self { credentials: Credentials::new(credentials).unwrap_or_default(), patterns: self.patterns.clone() }
    }

    /// Headers as a trace has them: a string per name, or a list of strings if the name came more than once.
    pub fn headers<'a>(&self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, value) in headers {
            let value = if is_secret_header(name) { REDACTED.into() } else { self.text(value) };
            let value = Value::String(value.into_owned());
            let name = self.text(name);
            match map.get_mut(&*name) {
                None => drop(map.insert(name.into_owned(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        map
    }

    /// Replaces secrets in headers that are in the form of [`Self::headers`].
    pub fn recorded_headers(&self, headers: &mut Map<String, Value>) {
        for (name, value) in headers {
            let values = match value {
                Value::Array(values) => &mut values[..],
                value => std::slice::from_mut(value),
            };
            for value in values.iter_mut().filter(|value| value.is_string()) {
                let text = value.as_str().unwrap_or_default();
                let clean = if is_secret_header(name) { REDACTED.into() } else { self.text(text) };
                *value = Value::String(clean.into_owned());
            }
        }
    }

    /// A path with its query, in which parameters lose their values that are named like secrets, or have one in them.
    pub fn path(&self, path: &str) -> String {
        let Some((path, query)) = path.split_once('?') else { return self.segments(path) };
        let pairs: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) if is_secret_parameter(name) || self.is_secret_encoded(value) => format!("{name}={REDACTED}"),
                _ => self.text(pair).into_owned(),
            })
            .collect();
        format!("{}?{}", self.segments(path), pairs.join("&"))
    }

    /// A path without its query.
    fn segments(&self, path: &str) -> String {
        let segments = path.split('/').map(|segment| if self.is_secret_encoded(segment) { REDACTED } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        self.text(&path).into_owned()
    }

    /// Whether a part of an address has a secret that only shows once it is decoded, perhaps more than once.
    fn is_secret_encoded(&self, value: &str) -> bool {
        let mut encoded = Cow::Borrowed(value);
        for _ in 0..MAX_ENCODED {
            let spaced = encoded.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
            if decoded == encoded {
                return false;
            }
            if matches!(self.text(&decoded), Cow::Owned(_)) {
                return true;
            }
            encoded = Cow::Owned(decoded);
        }
        false
    }

    /// A text with all secrets replaced.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if text.len() < MIN_TEXT && self.patterns.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut scanner = self.scanner();
        scanner.push(text);
        scanner.end();
        let spans = scanner.found(0);
        if spans.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(without(text, 0, spans)) }
    }

    /// Replaces secrets in all strings and keys of a JSON value, and the values of fields named like secrets.
    pub fn json(&self, value: &mut Value) {
        self.json_named(value, None);
    }

    /// Replaces secrets in an item of the list that is in the field with this name.
    pub(crate) fn item_of(&self, field: &str, item: &mut Value) {
        self.json_named(item, evidence_for(field));
    }

    /// `evidence`: how much like a secret a text or number must look, by the name of the field that holds it. Each text of a list
    /// is judged like one alone. So is the `value` inside of an object; its other fields must look more like a secret, and in a
    /// schema they must be random.
    fn json_named(&self, value: &mut Value, evidence: Option<Evidence>) {
        match value {
            Value::String(text) => {
                if evidence.is_some_and(|evidence| is_secret(text.as_bytes(), evidence, ValueForm::Json)) {
                    *text = REDACTED.into();
                } else if let Cow::Owned(clean) = self.text(text) {
                    *text = clean;
                } else if let Some(clean) = encoded::without_secrets(text, |decoded| self.text(decoded)) {
                    *text = clean;
                }
            }
            Value::Number(number) if evidence.is_some_and(|evidence| is_secret_number(number, evidence)) => {
                *value = REDACTED.into();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.json_named(item, evidence)),
            Value::Object(fields) => {
                forget_spelling(fields);
                if fields.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *fields = std::mem::take(fields).into_iter().map(|(k, v)| (self.text(&k).into_owned(), v)).collect();
                }
                let inside = evidence.map(|evidence| if is_schema(fields) { Evidence::Chance } else { evidence.inside() });
                let named = named_elsewhere(fields);
                for (key, value) in fields.iter_mut() {
                    let by_name = if VALUES.contains(&key.as_str()) { named.or(evidence) } else { None };
                    let inside = inside.filter(|_| !is_about_secret(key));
                    self.json_named(value, by_name.or_else(|| evidence_for(key)).or(inside));
                }
            }
            _ => {}
        }
    }

    /// A scanner for a text that comes in pieces.
    pub(super) fn scanner(&self) -> Scanner {
        Scanner::new(&self.credentials, &self.patterns)
    }
}

/// The fields of an entry that may have the name of its value, and those that may have the value: `{"name": "DB_PASSWORD",
/// "value": "…"}`.
const NAMES: [&str; 4] = ["name", "key", "header", "variable"];
const VALUES: [&str; 2] = ["value", "val"];

/// Whether an object is a JSON Schema, which describes a secret and holds none.
fn is_schema(fields: &Map<String, Value>) -> bool {
    const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
    const KEYWORDS: [&str; 7] = ["$ref", "allOf", "anyOf", "enum", "oneOf", "pattern", "properties"];
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let is_typed = fields.get("type").is_some_and(|kind| match kind {
        Value::Array(kinds) => kinds.iter().all(is_type),
        kind => is_type(kind),
    });
    is_typed || KEYWORDS.iter().any(|keyword| fields.contains_key(*keyword))
}

/// What the value of an entry must look like to be a secret, going by the name that stands beside it.
fn named_elsewhere(fields: &Map<String, Value>) -> Option<Evidence> {
    if !VALUES.iter().any(|value| fields.contains_key(*value)) {
        return None;
    }
    NAMES.iter().filter_map(|name| fields.get(*name)?.as_str()).find_map(evidence_for)
}

/// User and password, and the password alone, of a header with basic authentication.
fn basic_password(header: &str) -> Vec<String> {
    let encoded = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")).map(|(_, rest)| rest.trim());
    let decoded = encoded.and_then(|encoded| String::from_utf8(STANDARD.decode(encoded).ok()?).ok());
    let password = decoded.as_ref().and_then(|decoded| Some(decoded.split_once(':')?.1.to_owned()));
    decoded.into_iter().chain(password).collect()
}

fn is_secret_number(number: &Number, evidence: Evidence) -> bool {
    is_secret(number.to_string().as_bytes(), evidence, ValueForm::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor() -> Redactor {
        Redactor::default().for_request(
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
        let redactor = Redactor::default().for_request([("x-api-key", "dummy")], "/");
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
    fn secrets_in_lists_and_objects_below_such_a_name_are_found() {
        let chance = "Zk3vQ9xT1mB7wR5hJ2nF8cY4";
        let mut body = json!({
            "passwords": ["hunter2", "", 5], "api_keys": [chance, "two words"], "mcp_servers": [{"authorization_token": "opensesame"}],
            "credentials": {"value": chance, "user": "ada"}, "apiKey": {"type": "string", "description": "A key of 24 letters.",
            "pattern": "^[a-zA-Z0-9]{24}$", "default": "claude-opus-4-5-20251101"}, "cookies": {"sid": {"value": chance}},
            "tokens": ["some", "words"], "max_tokens": "4096"});
        Redactor::default().json(&mut body);
        assert_eq!(
            body,
            json!({
                "passwords": ["[redacted]", "", 5], "api_keys": ["[redacted]", "two words"],
                "mcp_servers": [{"authorization_token": "[redacted]"}], "credentials": {"value": "[redacted]", "user": "ada"},
                "apiKey": {"type": "string", "description": "A key of 24 letters.", "pattern": "^[a-zA-Z0-9]{24}$",
                "default": "claude-opus-4-5-20251101"}, "cookies": {"sid": {"value": "[redacted]"}}, "tokens": ["some", "words"],
                "max_tokens": "4096"})
        );
    }

    #[test]
    fn the_values_of_an_object_below_such_a_name_are_judged_by_it() {
        let given = json!({
            "api_key": {"value": "opensesame", "name": "prod-1", "expires_at": "2027-01-01"}, "token": {"value": "abcd1234", "kind": "bot-2"},
            "password": {"value": 12345678, "type": "string"}, "db_passwords": [{"val": "sunshine"}, {"value": "moonlight"}],
            "secrets": {"STRIPE": "hunter2", "MODE": "enabled", "MAX": 5, "nested": {"deep": ["hunter-2"]}}, "bearer": "opensesame",
            "cookies": {"theme": "dark", "sid": "a1b2c3"}, "secret_scanning": {"status": "enabled-2"}, "key": {"value": "ctrl+s"},
            "properties": {"password": {"type": "object", "properties": {"value": {"type": "string", "default": "p4ssword-x"}}},
            "secret": {"anyOf": [{"type": "string", "pattern": "^[a-z0-9]{5,}$"}], "default": "claude-3-5"}},
        });
        let text = Redactor::default().text(&given.to_string()).into_owned();
        let mut body = given;
        Redactor::default().json(&mut body);
        assert_eq!(
            body,
            json!({
                "api_key": {"value": "[redacted]", "name": "prod-1", "expires_at": "2027-01-01"}, "token": {"value": "[redacted]", "kind": "bot-2"},
                "password": {"value": "[redacted]", "type": "string"}, "db_passwords": [{"val": "[redacted]"}, {"value": "[redacted]"}],
                "secrets": {"STRIPE": "[redacted]", "MODE": "enabled", "MAX": 5, "nested": {"deep": ["[redacted]"]}}, "bearer": "[redacted]",
                "cookies": {"theme": "dark", "sid": "[redacted]"}, "secret_scanning": {"status": "enabled-2"}, "key": {"value": "ctrl+s"},
                "properties": {"password": {"type": "object", "properties": {"value": {"type": "string", "default": "p4ssword-x"}}},
                "secret": {"anyOf": [{"type": "string", "pattern": "^[a-z0-9]{5,}$"}], "default": "claude-3-5"}},
            })
        );
        // In a text, what is named value.
        for secret in ["opensesame", "abcd1234", "12345678", "sunshine", "moonlight"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("ctrl+s") && text.contains("prod-1") && text.contains("p4ssword-x"), "{text}");
    }

    #[test]
    fn numbers_under_names_of_secrets_are_secrets_and_counts_are_not() {
        let mut body = json!({"password": 12345678, "db_pin_password": -1234.5, "api_key": 90210, "passwords": [1234, 5], "credentials": {"id": 123456},
            "max_tokens": 64000, "password_timeout": 3600, "cookie_max_age": 86400, "token": 50256, "secrets": 12, "secret": true, "password_hash": null});
        let as_text = |name: &str, text: &str| (name.to_owned(), Redactor::default().text(text).into_owned());
        let texts = [
            as_text("json", &body.to_string()),
            as_text("escaped", &json!({"input": body.to_string()}).to_string()),
            as_text("code", "password = 1234; DB_PASS=123456 login --password 12345 {'secret': 1234} {password: 5678}"),
        ];
        Redactor::default().json(&mut body);
        assert_eq!(
            body,
            json!({"password": "[redacted]", "db_pin_password": "[redacted]", "api_key": "[redacted]", "passwords": ["[redacted]", 5],
                "credentials": {"id": 123456}, "max_tokens": 64000, "password_timeout": 3600, "cookie_max_age": 86400, "token": 50256, "secrets": 12,
                "secret": true, "password_hash": null})
        );
        insta::assert_snapshot!(texts.map(|(name, text)| format!("{name}: {text}")).join("\n"), @r#"
        json: {"password":"[redacted]","db_pin_password":"[redacted]","api_key":"[redacted]","passwords":["[redacted]",5],"credentials":{"id":123456},"max_tokens":64000,"password_timeout":3600,"cookie_max_age":86400,"token":50256,"secrets":12,"secret":true,"password_hash":null}
        escaped: {"input":"{\"password\":\"[redacted]\",\"db_pin_password\":\"[redacted]\",\"api_key\":\"[redacted]\",\"passwords\":[\"[redacted]\",5],\"credentials\":{\"id\":123456},\"max_tokens\":64000,\"password_timeout\":3600,\"cookie_max_age\":86400,\"token\":50256,\"secrets\":12,\"secret\":true,\"password_hash\":null}"}
        code: password = [redacted]; DB_PASS=[redacted] login --password [redacted] {'secret': '[redacted]'} {password: [redacted]}
        "#);
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
