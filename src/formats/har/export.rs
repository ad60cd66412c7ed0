//! Traces as an HTTP archive. What HAR has no place for stands in `_anyclaude`, so that importing it again gives the same traces.

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{Har, Own};
use crate::formats::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::trace::{RecordedEvent, Trace};
use crate::wire::from_json;

impl Exporter for Har {
    fn name(&self) -> &'static str {
        "har"
    }

    fn title(&self) -> &'static str {
        "HTTP archive, HAR 1.2"
    }

    fn frame(&self) -> Frame {
        Frame {
            before: concat!(
                "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"anyclaude\",\"version\":\"",
                env!("CARGO_PKG_VERSION"),
                "\"},\"pages\":[],\"entries\":[\n"
            ),
            between: ",\n",
            behind: "\n]}}\n",
        }
    }

    fn leaves_out(&self) -> &'static str {
        "are none of HTTP"
    }

    fn begin<'a>(&'a self, _: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        Box::new(|trace: &Trace| Some(entry(trace)))
    }
}

/// An exchange as an entry of the archive.
pub(super) fn entry(trace: &Trace) -> Value {
    let wait = trace.response.events.first().map(|event| event.at_us).or(trace.timing.e2e_us).map_or(0.0, ms);
    let total = trace.timing.e2e_us.map_or(wait, ms).max(wait);
    json!({
        "startedDateTime": trace.recorded_at,
        "time": total,
        "request": request(trace),
        "response": response(trace),
        "cache": {},
        "timings": {"blocked": -1, "dns": -1, "connect": -1, "send": 0, "wait": wait, "receive": total - wait, "ssl": -1},
        "_anyclaude": Own::of(trace),
    })
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn request(trace: &Trace) -> Value {
    let request = &trace.request;
    let text = text_of(&request.body);
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs =
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| json!({"name": name, "value": value}));
    json!({
        "method": request.method,
        "url": format!("http://{}{}", request.headers.get("host").and_then(Value::as_str).unwrap_or("unknown"), request.path),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&request.headers),
        "queryString": pairs.collect::<Vec<_>>(),
        "headersSize": -1,
        "bodySize": text.len(),
        "postData": {"mimeType": "application/json", "text": text, "params": []},
    })
}

fn response(trace: &Trace) -> Value {
    let response = &trace.response;
    let text = if response.events.is_empty() { text_of(&response.body) } else { stream(&response.events) };
    let kind = response.headers.get("content-type").and_then(Value::as_str).unwrap_or("application/json");
    json!({
        "status": response.status,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers(&response.headers),
        "content": {"size": text.len(), "mimeType": kind, "text": text},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
    })
}

/// A body as it went over the wire: JSON, or the text that it was. A text that reads as JSON was in quotes.
fn text_of(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        Value::String(text) if !text.is_empty() && from_json::<IgnoredAny>(text.as_bytes()).is_err() => text.clone(),
        json => json.to_string(),
    }
}

fn stream(events: &[RecordedEvent]) -> String {
    let data = |event: &RecordedEvent| text_of(&event.data).replace('\n', "\ndata: ");
    events.iter().map(|event| format!("event: {}\ndata: {}\n\n", event.event, data(event))).collect()
}

fn headers(headers: &Map<String, Value>) -> Vec<Value> {
    let values = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let pairs = headers.iter().flat_map(|(name, value)| values(value).into_iter().map(move |value| (name, value)));
    pairs.map(|(name, value)| json!({"name": name, "value": value})).collect()
}
