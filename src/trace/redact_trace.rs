//! Redacting a trace that exists already, in all places that the recorder redacts.

use serde_json::Value;

use super::redact::{Redactor, StreamRedactor};
use super::{RecordedEvent, Trace, assemble};

/// Replaces what looks like a secret. The credentials of the recorded request are not known any more, so one that looks like
/// ordinary text stays.
pub(crate) fn redact_trace(trace: &mut Trace, redactor: &Redactor) {
    trace.id = redactor.text(&trace.id).into_owned();
    trace.mode = redactor.text(&trace.mode).into_owned();
    trace.client = redactor.text(&trace.client).into_owned();
    trace.upstream = trace.upstream.take().map(|upstream| redactor.text(&upstream).into_owned());
    trace.request.path = redactor.path(&trace.request.path);
    redactor.recorded_headers(&mut trace.request.headers);
    redactor.recorded_headers(&mut trace.response.headers);
    redactor.json(&mut trace.request.body);
    redactor.json(&mut trace.response.body);
    let mut stream = StreamRedactor::new(redactor.clone());
    let mut events: Vec<RecordedEvent> = trace.response.events.drain(..).flat_map(|event| stream.push(event)).collect();
    events.extend(stream.finish());
    trace.response.events = events;
}

/// The message that events assemble to, as a trace has it. In a whole call more may look like a secret than in its pieces.
pub(super) fn assemble_redacted(events: &[RecordedEvent], redactor: &Redactor) -> Value {
    let mut message = assemble(events);
    redactor.json(&mut message);
    message
}

/// The parts of a trace in which something looks like a secret, by name.
pub(super) fn parts_with_secrets(trace: &Trace, redactor: &Redactor) -> Vec<&'static str> {
    let mut clean = trace.clone();
    redact_trace(&mut clean, redactor);
    let parts = [
        ("id", clean.id != trace.id),
        ("mode", clean.mode != trace.mode),
        ("client", clean.client != trace.client),
        ("upstream", clean.upstream != trace.upstream),
        ("request.path", clean.request.path != trace.request.path),
        ("request.headers", clean.request.headers != trace.request.headers),
        ("request.body", clean.request.body != trace.request.body),
        ("response.headers", clean.response.headers != trace.response.headers),
        ("response.body", clean.response.body != trace.response.body),
        ("response.events", clean.response.events != trace.response.events),
    ];
    parts.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
}
