//! Scrubbing: making a trace fit to be shared. Prose becomes filler; people and machines become anonymous.
//!
//! It works by an allow-list. What stays is listed: in `tables` and `answer_tables` for bodies and events, in `head` for headers,
//! paths and the client's name. Where a word of a protocol is expected, only those of the protocols stay (`enumerations`); a
//! listed name, id or number must look like one (`shape`). Everything else becomes filler (`filler`) or a hash, field names
//! included. Filler keeps a text's length in characters, so that an answer is cut into the same deltas as before (`stream`).

mod answer_tables;
mod enumerations;
mod filler;
mod head;
mod homes;
mod kinds;
mod names;
mod shape;
mod stream;
mod structure;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use serde_json::Value;

use self::kinds::{FieldKind, ObjectKind};
use self::names::DeclaredNames;
pub use self::walk::Turns;
use self::walk::{Speaker, Walker};
use super::Trace;
use super::redact::Redactor;
use super::redact_trace::{assemble_redacted, redact_trace};

/// Scrubs a trace. Secrets that it still has are redacted. Scrubbing a scrubbed trace in the same way changes nothing, and a
/// valid trace stays valid.
pub fn scrub(mut trace: Trace, turns: Turns, redactor: &Redactor) -> Trace {
    redact_trace(&mut trace, redactor);
    let walker = Walker { turns, names: DeclaredNames::of(&trace.request.body) };
    trace.client = head::user_agent(&trace.client);
    // It may name a server that nobody outside knows.
    trace.upstream = None;
    trace.request.method = head::method(&trace.request.method);
    trace.request.path = head::path(&trace.request.path);
    head::headers(&mut trace.request.headers);
    head::headers(&mut trace.response.headers);
    body(&walker, &mut trace.request.body, ObjectKind::Request);
    stream::events(&walker, &mut trace.response.events);
    if trace.response.events.is_empty() {
        body(&walker, &mut trace.response.body, ObjectKind::Answer);
    }
    // Filler may read as a secret where it stands: a hash behind the name of a token, a word in place of a row of stars.
    redact_trace(&mut trace, redactor);
    if !trace.response.events.is_empty() {
        trace.response.body = assemble_redacted(&trace.response.events, redactor);
    }
    trace
}

/// Scrubs the arguments of a call in an answer to a request with this body, as [`scrub`] does those that a trace has.
pub fn scrub_arguments(arguments: &mut Value, request: &Value, turns: Turns, redactor: &Redactor) {
    redactor.json(arguments);
    let walker = Walker { turns, names: DeclaredNames::of(request) };
    walker.value(arguments, FieldKind::Arguments, Speaker::Other);
    redactor.json(arguments);
}

/// Scrubs a body. One that is no JSON, as a string, is free text.
fn body(walker: &Walker, body: &mut Value, object: ObjectKind) {
    match body {
        Value::String(_) => walker.free(body),
        body => walker.value(body, FieldKind::In(object), Speaker::Other),
    }
}
