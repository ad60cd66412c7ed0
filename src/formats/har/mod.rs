//! HAR 1.2 (HTTP archives), as browsers' developer tools, Charles, Proxyman and mitmproxy write them.

mod export;
mod own;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::own::Own;
use super::http::{Body, Headers, HttpAnswer, HttpExchange, Started, micros};
use super::import::ImportError;
use super::importer::{Found, ImportedExchange, Importer, Passed, Source};

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
struct Content {
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
        let is_key = |key: &[u8]| start.windows(key.len()).any(|bytes| bytes == key);
        start.trim_ascii_start().starts_with(b"{") && is_key(b"\"log\"") && (is_key(b"\"entries\"") || is_key(b"\"creator\""))
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        let (mut seen, mut failed) = (0, None);
        let mut take = |mut entry: Entry| {
            seen += 1;
            let place = format!("entry {seen}");
            let own = entry.own.take();
            let read = match own {
                Some(own) => {
                    own.trace(entry).map(|trace| Found::Exchange(Box::new(ImportedExchange { trace, missing: Vec::new() })))
                }
                None => exchange(&place, entry).map(|exchange| exchange.into_found(self, path)),
            };
            let found = found(read.unwrap_or_else(|reason| Found::Passed(Passed { place, reason })));
            found.map_err(|error| drop(failed.replace(error)))
        };
        let read = Inside { key: "log", seed: Inside { key: "entries", seed: Each(&mut take) } }
            .deserialize(&mut serde_json::Deserializer::from_reader(reader));
        match (failed, read) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => {
                let reason = format!("no HTTP archive behind entry {seen}: {error}");
                Err(ImportError::Malformed { path: path.to_owned(), reason })
            }
        }
    }
}

fn exchange(place: &str, entry: Entry) -> Result<HttpExchange, String> {
    let Entry { started_date_time, time, request, response, .. } = entry;
    let started = started(&started_date_time)?;
    let status = u16::try_from(response.status).unwrap_or_default();
    let answer = (status > 0).then(|| HttpAnswer {
        status,
        headers: pairs(response.headers),
        body: response.content.and_then(bytes).map(Body::Bytes),
        e2e_us: time.map(|ms| micros(ms / 1e3)),
    });
    let body = request.post_data.and_then(bytes).map(Body::Bytes);
    let headers = pairs(request.headers);
    Ok(HttpExchange { place: place.to_owned(), started, method: request.method, url: request.url, headers, body, answer })
}

fn started(text: &str) -> Result<Started, String> {
    Started::parse(text).map_err(|error| format!("its time, {text}, is none: {error}"))
}

fn pairs(headers: Vec<Header>) -> Headers {
    headers.into_iter().map(|Header { name, value }| (name, value)).collect()
}

fn bytes(Content { text, encoding }: Content) -> Option<Vec<u8>> {
    let text = text?;
    if encoding.as_deref() == Some("base64") { STANDARD.decode(text).ok() } else { Some(text.into_bytes()) }
}

/// Reads one field of an object and passes over the others.
struct Inside<S> {
    key: &'static str,
    seed: S,
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> DeserializeSeed<'de> for Inside<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for Inside<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the field `{}`", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seed = Some(self.seed);
        while let Some(key) = map.next_key::<String>()? {
            match seed.take_if(|_| key == self.key) {
                Some(seed) => map.next_value_seed(seed)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if seed.is_some() { Err(serde::de::Error::missing_field(self.key)) } else { Ok(()) }
    }
}

/// Hands over each element of a list as it is read.
struct Each<'a>(&'a mut dyn FnMut(Entry) -> Result<(), ()>);

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.0)(entry).map_err(|()| serde::de::Error::custom("it was stopped"))?;
        }
        Ok(())
    }
}
