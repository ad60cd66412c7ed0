//! What stands around the bodies: headers, path and query, the client's name. As in `tables`, what is not listed becomes filler.

use serde_json::{Map, Value};

use super::filler::{filler, hashed, is_hashed};
use super::shape::{is_beta, is_date, is_media, is_model, is_number, is_version};

/// What a header holds, and so what becomes of its value.
#[derive(Clone, Copy, Debug)]
enum HeaderKind {
    /// Anything: filler.
    Free,
    /// What identifies a person, a machine or a request: a hash.
    Hash,
    /// Values between commas, each of which stays if this is true of it.
    List(fn(&str) -> bool),
    /// Values between commas that stay if they are one of these words, or a number given to one.
    Words(&'static [&'static str]),
    /// The address of a server: it stays if it is on this machine.
    Host,
    /// The names and versions of programs.
    Programs,
}

const ENCODINGS: &[&str] = &["gzip", "x-gzip", "deflate", "br", "zstd", "identity", "*", "chunked", "compress"];

/// The headers that are known.
const HEADERS: &[(&str, HeaderKind)] = &[
    ("accept", HeaderKind::List(is_media)),
    ("accept-encoding", HeaderKind::Words(ENCODINGS)),
    ("accept-language", HeaderKind::Words(&["*", "en", "en-US"])),
    ("anthropic-beta", HeaderKind::List(is_beta)),
    ("anthropic-dangerous-direct-browser-access", HeaderKind::Words(&["true", "false"])),
    ("anthropic-organization-id", HeaderKind::Hash),
    ("anthropic-version", HeaderKind::List(is_date)),
    ("authorization", HeaderKind::Free),
    ("cache-control", HeaderKind::Words(&["no-cache", "no-store", "private", "public", "max-age", "must-revalidate"])),
    ("cf-cache-status", HeaderKind::Words(&["DYNAMIC", "HIT", "MISS", "BYPASS"])),
    ("cf-ray", HeaderKind::Hash),
    ("connection", HeaderKind::Words(&["keep-alive", "close", "upgrade"])),
    ("content-encoding", HeaderKind::Words(ENCODINGS)),
    ("content-length", HeaderKind::List(is_number)),
    ("content-type", HeaderKind::List(is_media)),
    ("date", HeaderKind::List(is_date)),
    ("host", HeaderKind::Host),
    ("keep-alive", HeaderKind::Words(&["timeout", "max"])),
    ("request-id", HeaderKind::Hash),
    ("retry-after", HeaderKind::List(is_number)),
    ("retry-after-ms", HeaderKind::List(is_number)),
    ("sec-fetch-mode", HeaderKind::Words(&["cors", "no-cors"])),
    ("server", HeaderKind::Words(&["cloudflare", "uvicorn", "nginx"])),
    ("set-cookie", HeaderKind::Free),
    ("cookie", HeaderKind::Free),
    ("traceparent", HeaderKind::Hash),
    ("transfer-encoding", HeaderKind::Words(ENCODINGS)),
    ("user-agent", HeaderKind::Programs),
    ("vary", HeaderKind::Words(&["accept-encoding", "Accept-Encoding", "origin", "Origin"])),
    ("via", HeaderKind::Free),
    ("x-api-key", HeaderKind::Free),
    ("x-app", HeaderKind::Words(&["cli"])),
    ("x-claude-code-session-id", HeaderKind::Hash),
    ("x-client-request-id", HeaderKind::Hash),
    ("x-envoy-upstream-service-time", HeaderKind::List(is_number)),
    ("x-request-id", HeaderKind::Hash),
    ("x-robots-tag", HeaderKind::Words(&["none"])),
    ("x-should-retry", HeaderKind::Words(&["true", "false"])),
    ("x-stainless-arch", HeaderKind::Hash),
    ("x-stainless-async", HeaderKind::Words(&["true", "false"])),
    ("x-stainless-helper-method", HeaderKind::Words(&["stream"])),
    ("x-stainless-lang", HeaderKind::Words(&["js", "python", "go", "java", "kotlin", "ruby", "php", "csharp"])),
    ("x-stainless-os", HeaderKind::Hash),
    ("x-stainless-package-version", HeaderKind::List(is_version)),
    ("x-stainless-raw-response", HeaderKind::Words(&["true", "stream"])),
    ("x-stainless-read-timeout", HeaderKind::List(is_number)),
    ("x-stainless-retry-count", HeaderKind::List(is_number)),
    ("x-stainless-runtime", HeaderKind::Words(&["node", "bun", "deno", "CPython", "PyPy", "go"])),
    ("x-stainless-runtime-version", HeaderKind::Hash),
    ("x-stainless-timeout", HeaderKind::List(is_number)),
];

/// How the headers of rate limits begin. They hold numbers, times and words.
const RATE_LIMIT: &str = "anthropic-ratelimit-";

/// The kinds of things that rate limits are for.
const LIMITED: &[&str] =
    &["requests", "tokens", "input", "output", "unified", "limit", "remaining", "reset", "status", "fallback", "5h", "7d"];

/// Programs that speak to such servers, and words that they say of themselves.
const PROGRAMS: &[&str] = &[
    "anthropic",
    "asyncanthropic",
    "asyncopenai",
    "bun",
    "claude-cli",
    "claude-code",
    "cli",
    "codex",
    "curl",
    "external",
    "js",
    "node",
    "openai",
    "python",
    "python-httpx",
    "python-requests",
    "reqwest",
    "sdk-cli",
    "sdk-py",
    "sdk-ts",
    "undici",
];

/// The parts of paths and the names of query parameters that are known.
const PATH: &[&str] = &[
    "",
    "v1",
    "batches",
    "cancel",
    "chat",
    "complete",
    "completions",
    "content",
    "count_tokens",
    "embeddings",
    "files",
    "messages",
    "models",
    "responses",
    "results",
];
const PARAMETERS: &[&str] = &["beta", "limit", "after_id", "before_id"];

/// Scrubs headers: names that are not known, and the values of all others by the table.
pub(super) fn headers(headers: &mut Map<String, Value>) {
    let mut scrubbed = Map::new();
    for (name, mut value) in std::mem::take(headers) {
        let known = known(&name);
        let new = match known {
            Some(_) => name.clone(),
            None if is_hashed(&name) => name.clone(),
            None => Some(filler(&name)).filter(|new| self::known(new).is_none()).unwrap_or_else(|| hashed(&name)),
        };
        let new = if scrubbed.contains_key(&new) { hashed(&name) } else { new };
        match &mut value {
            Value::String(text) => *text = known.unwrap_or(HeaderKind::Free).scrub(text),
            Value::Array(texts) => {
                for text in texts.iter_mut() {
                    if let Value::String(text) = text {
                        *text = known.unwrap_or(HeaderKind::Free).scrub(text);
                    }
                }
            }
            _ => value = Value::Null,
        }
        scrubbed.insert(new, value);
    }
    *headers = scrubbed;
}

fn known(name: &str) -> Option<HeaderKind> {
    if let Some(kind) = name.strip_prefix(RATE_LIMIT)
        && kind.split('-').all(|part| LIMITED.contains(&part))
    {
        return Some(HeaderKind::List(|value| is_number(value) || is_date(value) || ["allowed", "rejected"].contains(&value)));
    }
    HEADERS.iter().find(|(known, _)| *known == name).map(|(_, header)| *header)
}

/// Every header that is known.
#[cfg(test)]
pub(super) fn known_names() -> impl Iterator<Item = &'static str> {
    HEADERS.iter().map(|(name, _)| *name)
}

impl HeaderKind {
    fn scrub(self, value: &str) -> String {
        match self {
            Self::Free => filler(value),
            Self::Hash => hashed(value),
            // Dates have commas too.
            Self::List(is_known) if is_known(value) => value.to_owned(),
            Self::List(is_known) => listed(value, is_known),
            Self::Words(words) => listed(value, |word| {
                let (word, given) = word.split_once([';', '=']).unwrap_or((word, ""));
                words.contains(&word.trim()) && (given.is_empty() || is_number(given.trim().trim_start_matches("q=")))
            }),
            Self::Host if is_local(value) => value.to_owned(),
            Self::Host => filler(value),
            Self::Programs => user_agent(value),
        }
    }
}

/// Scrubs those parts between commas that are not known.
fn listed(value: &str, is_known: impl Fn(&str) -> bool) -> String {
    let parts = value.split(',').map(|part| if is_known(part.trim()) { part.to_owned() } else { filler(part) });
    parts.collect::<Vec<_>>().join(",")
}

/// Whether a host, with its port or without, is this machine.
fn is_local(host: &str) -> bool {
    let port = ["127.0.0.1", "localhost", "[::1]"].iter().find_map(|local| host.strip_prefix(local));
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_number))
}

/// Keeps the names and versions of known programs.
pub(super) fn user_agent(agent: &str) -> String {
    let mut out = String::with_capacity(agent.len());
    for piece in agent.split_inclusive([' ', '(', ')', ',', ';']) {
        let end = piece.trim_end_matches([' ', '(', ')', ',', ';']).len();
        let (program, sign) = piece.split_at(end);
        out.push_str(&if is_program(program) { program.to_owned() } else { filler(program) });
        out.push_str(sign);
    }
    out
}

/// Whether this is a known program, or a known word about one, with its version.
fn is_program(text: &str) -> bool {
    let mut parts = text.split('/');
    let is_known = |name: &str| PROGRAMS.contains(&name.to_ascii_lowercase().as_str());
    parts.all(|part| is_known(part) || is_version(part))
}

/// Scrubs the method of a request: those of HTTP stay.
pub(super) fn method(method: &str) -> String {
    const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    if METHODS.contains(&method) { method.to_owned() } else { filler(method) }
}

/// Scrubs a path and its query.
pub(super) fn path(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut before = "";
    let parts = path.split('/').map(|part| {
        let is_model = before == "models" && is_model(part);
        let is_id = part.starts_with("msgbatch_") || part.starts_with("file_");
        before = part;
        match part {
            _ if PATH.contains(&part) || is_model => part.to_owned(),
            _ if is_id || is_hashed(part) => hashed(part),
            _ => filler(part),
        }
    });
    let mut out = parts.collect::<Vec<_>>().join("/");
    if let Some(query) = query {
        out.push('?');
        out.push_str(&query.split('&').map(parameter).collect::<Vec<_>>().join("&"));
    }
    out
}

/// Scrubs a parameter of a query: the known ones keep their names, switches and numbers their values.
fn parameter(pair: &str) -> String {
    let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
    let is_known = PARAMETERS.contains(&name);
    let name = if is_known { name.to_owned() } else { filler(name) };
    match value {
        Some(value) if is_known && (["true", "false"].contains(&value) || is_number(value)) => format!("{name}={value}"),
        Some(value) => format!("{name}={}", filler(value)),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_headers_stay_and_others_do_not() {
        let mut given = json!({
            "accept": "application/json, secretive/x", "accept-encoding": "gzip;q=0.5, secretive", "anthropic-beta": "effort-2025-11-24,secretive",
            "anthropic-version": "2023-06-01", "anthropic-ratelimit-tokens-reset": "2026-01-02T03:04:05Z", "date": "Sat, 28 Nov 2026 03:04:13 GMT",
            "cache-control": "max-age=60, private", "content-type": "text/event-stream; charset=utf-8", "content-length": "12",
            "host": "127.0.0.1:8082", "user-agent": "claude-cli/2.1.331 (external, sdk-cli) Secretive/1.0 (Linux x86_64; me)",
            "x-secretive-team": ["secretive", "secretive"], "request-id": "secretive", "retry-after": "secretive",
        });
        let fields = given.as_object_mut().unwrap();
        headers(fields);
        insta::assert_snapshot!(serde_json::to_string_pretty(&fields).unwrap(), @r#"
        {
          "accept": "application/json, elevation/a",
          "accept-encoding": "gzip;q=0.5, elevation",
          "anthropic-beta": "effort-2025-11-24,elevation",
          "anthropic-version": "2023-06-01",
          "anthropic-ratelimit-tokens-reset": "2026-01-02T03:04:05Z",
          "date": "Sat, 28 Nov 2026 03:04:13 GMT",
          "cache-control": "max-age=60, private",
          "content-type": "text/event-stream; charset=utf-8",
          "content-length": "12",
          "host": "127.0.0.1:8082",
          "user-agent": "claude-cli/2.1.331 (external, sdk-cli) Elevation/1.1 (Outer a12_12; me)",
          "a-elevation-team": [
            "elevation",
            "elevation"
          ],
          "request-id": "scrubbed-2d2149e967e030d6",
          "retry-after": "elevation"
        }
        "#);
        let once = fields.clone();
        headers(fields);
        assert_eq!(*fields, once);
    }

    #[test]
    fn the_methods_of_http_stay() {
        assert_eq!(method("POST"), "POST");
        assert_eq!(method("SECRETIVE"), "ELEVATION");
    }

    #[test]
    fn a_host_elsewhere_is_not_told() {
        for (host, stays) in [("localhost", true), ("[::1]:80", true), ("llm.corp.example", false), ("localhost.corp:80", false)]
        {
            assert_eq!(HeaderKind::Host.scrub(host) == host, stays, "{host}");
        }
    }

    #[test]
    fn of_a_path_the_routes_stay() {
        for (given, expected) in [
            ("/v1/messages?beta=true", "/v1/messages?beta=true"),
            ("//v1/messages/count_tokens", "//v1/messages/count_tokens"),
            ("/v1/models/claude-opus-4-5?limit=20", "/v1/models/claude-opus-4-5?limit=20"),
        ] {
            assert_eq!(path(given), expected);
            assert_eq!(path(&path(given)), path(given));
        }
        let given = "/v1/files/file_secretive/Secretive?beta=secretive&secretive&limit=secretive&q=%73ecretive";
        let scrubbed = path(given);
        assert!(!scrubbed.to_lowercase().contains("secretive") && scrubbed.starts_with("/v1/files/scrubbed-"), "{scrubbed}");
        assert_eq!(path(&scrubbed), scrubbed);
    }
}
