//! What HAR has no place for, so that importing an archive of `anyclaude trace export` gives the same traces again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, bytes, pairs};
use crate::formats::http::{Started, by_name, event_of, frames_of, path_of};
use crate::formats::session_name;
use crate::record::body_value;
use crate::trace::{ExchangeOutcome, RecordedEvent, RecordedRequest, RecordedResponse, Timing, Trace, VERSION, assemble};

/// The field `_anyclaude` of an entry.
#[derive(Serialize, Deserialize)]
pub(super) struct Own {
    id: String,
    session: String,
    /// 0 in archives that were written before it was kept.
    #[serde(default)]
    seq: u32,
    client: String,
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    /// Of each event, in microseconds from the request.
    at_us: Vec<u64>,
    /// The answer's body, where its events spell another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    timing: Timing,
    outcome: ExchangeOutcome,
}

impl Own {
    /// Of a trace.
    pub(super) fn of(trace: &Trace) -> Self {
        let Trace { id, session, seq, client, mode, upstream, response, timing, outcome, .. } = trace;
        let is_spelled = response.events.is_empty() || assemble(&response.events) == response.body;
        Self {
            id: id.clone(),
            session: session.clone(),
            seq: *seq,
            client: client.clone(),
            mode: mode.clone(),
            upstream: upstream.clone(),
            at_us: response.events.iter().map(|event| event.at_us).collect(),
            body: (!is_spelled).then(|| response.body.clone()),
            timing: timing.clone(),
            outcome: *outcome,
        }
    }

    /// The trace that this entry was written from.
    ///
    /// # Errors
    /// The entry was changed since, so that it is none; the reason.
    pub(super) fn trace(self, entry: Entry) -> Result<Trace, String> {
        let Entry { started_date_time, request, response, .. } = entry;
        Started::parse(&started_date_time)?;
        let answer = response.content.and_then(bytes).unwrap_or_default();
        let events = events_of(&answer, &self.at_us)?;
        let body = self.body.unwrap_or_else(|| if events.is_empty() { body_value(&answer) } else { assemble(&events) });
        let status = u16::try_from(response.status).map_err(|_| format!("{} is no status", response.status))?;
        Ok(Trace {
            version: VERSION,
            id: self.id,
            session: session_name(&self.session),
            seq: self.seq,
            recorded_at: started_date_time,
            client: self.client,
            mode: self.mode,
            upstream: self.upstream,
            request: RecordedRequest {
                path: path_of(&request.url).to_owned(),
                method: request.method,
                headers: by_name(pairs(request.headers)),
                body: body_value(&request.post_data.and_then(bytes).unwrap_or_default()),
            },
            response: RecordedResponse { status, headers: by_name(pairs(response.headers)), events, body },
            timing: self.timing,
            outcome: self.outcome,
        })
    }
}

/// The events of a stream, of which each has its time; none if there are no times.
fn events_of(stream: &[u8], at_us: &[u64]) -> Result<Vec<RecordedEvent>, String> {
    if at_us.is_empty() {
        return Ok(Vec::new());
    }
    let frames = frames_of(stream).ok_or("an event of its answer is larger than any is")?;
    if frames.len() != at_us.len() {
        return Err(format!("it was edited: {} events and {} times of events", frames.len(), at_us.len()));
    }
    Ok(frames.into_iter().zip(at_us).map(|(frame, at_us)| event_of(frame, *at_us)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::formats::har::export::entry;

    /// A trace that differs in all that it can from what an importer would take a field to be.
    fn trace(path: &str, body: Value, events: Vec<RecordedEvent>, answer: Value) -> Trace {
        let headers: Map<String, Value> = serde_json::from_value(json!({"host": "h", "accept": ["a", "b"]})).unwrap();
        let kind: Map<String, Value> = serde_json::from_value(json!({"content-type": "text/event-stream"})).unwrap();
        Trace {
            version: VERSION,
            id: "an id".into(),
            session: "s".into(),
            seq: 7,
            recorded_at: "2026-01-02T03:04:05.600Z".into(),
            client: "c".into(),
            mode: "claude".into(),
            upstream: Some("https://h".into()),
            request: RecordedRequest { method: "GET".into(), path: path.into(), headers, body },
            response: RecordedResponse { status: 200, headers: kind, events, body: answer },
            timing: Timing { ttft_us: Some(1), e2e_us: None, itl_us: None },
            outcome: ExchangeOutcome::ClientClosed,
        }
    }

    #[track_caller]
    fn comes_back(trace: &Trace) {
        let mut read: Entry = serde_json::from_value(entry(trace)).unwrap();
        let own = read.own.take().unwrap();
        assert_eq!(own.trace(read).as_ref(), Ok(trace));
    }

    #[test]
    fn a_trace_comes_back_whatever_it_holds() {
        let event = |data: Value| RecordedEvent { at_us: 5, event: "message".into(), data };
        let chunk = json!({"choices": [{"delta": {"content": "Hi"}}]});
        comes_back(&trace("/v1/models?limit=5", Value::Null, vec![], json!({"data": []})));
        comes_back(&trace("/v1/messages", json!({"model": "m"}), vec![], json!({"type": "message", "content": []})));
        comes_back(&trace(
            "/v1/chat/completions",
            json!({"model": "m"}),
            vec![event(chunk), event(json!("[DONE]"))],
            Value::Null,
        ));
        comes_back(&trace("/", json!("no JSON\n"), vec![event(json!("two\nlines"))], json!("what no event spells")));
        for text in ["5", "{}", "[1]", "\"a\"", "null"] {
            comes_back(&trace("/", json!(text), vec![event(json!(text))], Value::Null));
            comes_back(&trace("/", json!(text), vec![], json!(text)));
        }
    }

    #[test]
    fn an_archive_that_was_edited_gives_no_wrong_trace() {
        let event = RecordedEvent { at_us: 5, event: "ping".into(), data: json!({"type": "ping"}) };
        let mut edited = entry(&trace("/", Value::Null, vec![event], Value::Null));
        edited["response"]["content"]["text"] = "".into();
        let mut read: Entry = serde_json::from_value(edited).unwrap();
        let own = read.own.take().unwrap();
        assert_eq!(own.trace(read), Err("it was edited: 0 events and 1 times of events".into()));
    }
}
