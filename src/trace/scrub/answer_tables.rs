//! Every known field of answers and of the events of a stream, with its kind: an allow-list like that of requests in `tables`.

use super::kinds::FieldKind::*;
use super::kinds::{FieldTable, ObjectKind};

pub(super) const ANSWER: FieldTable = &[
    ("id", Id),
    ("type", Enumerated),
    ("role", Enumerated),
    ("model", Model),
    ("content", In(ObjectKind::Block)),
    ("stop_reason", Enumerated),
    ("stop_sequence", Free),
    ("usage", Settings),
    ("container", Hash),
    ("context_management", Settings),
    ("error", In(ObjectKind::Error)),
    ("request_id", Hash),
    ("input_tokens", Settings),
    // Events.
    ("index", Settings),
    ("message", In(ObjectKind::Answer)),
    ("content_block", In(ObjectKind::Block)),
    ("delta", In(ObjectKind::Delta)),
    // Chat completions.
    ("object", Enumerated),
    ("created", Settings),
    ("choices", In(ObjectKind::Choice)),
    ("system_fingerprint", Hash),
    // Responses.
    ("status", Enumerated),
    ("output", In(ObjectKind::Item)),
    ("created_at", Settings),
    ("completed_at", Settings),
    ("incomplete_details", Settings),
    ("instructions", Free),
    ("tools", In(ObjectKind::Tool)),
    ("tool_choice", EnumeratedOr(ObjectKind::Tool)),
    ("parallel_tool_calls", Settings),
    ("max_output_tokens", Settings),
    ("temperature", Settings),
    ("top_p", Settings),
    ("reasoning", Settings),
    ("truncation", Settings),
    ("store", Settings),
    ("metadata", Hash),
    ("user", Hash),
    ("previous_response_id", Hash),
];

pub(super) const RESPONSES_EVENT: FieldTable = &[
    ("type", Enumerated),
    ("sequence_number", Settings),
    ("output_index", Settings),
    ("content_index", Settings),
    ("summary_index", Settings),
    ("annotation_index", Settings),
    ("item_id", Id),
    ("response", In(ObjectKind::Answer)),
    ("item", In(ObjectKind::Item)),
    ("part", In(ObjectKind::Block)),
    ("annotation", In(ObjectKind::Citation)),
    ("delta", Free),
    ("text", Free),
    ("refusal", Free),
    // Of a tool.
    ("name", ToolName),
    ("arguments", Arguments),
    ("input", Arguments),
    ("code", Free),
    ("message", Free),
    ("param", Free),
];

pub(super) const DELTA: FieldTable = &[
    ("type", Enumerated),
    ("text", Said),
    ("thinking", Free),
    ("signature", Hash),
    ("partial_json", Arguments),
    ("citation", In(ObjectKind::Citation)),
    ("stop_reason", Enumerated),
    ("stop_sequence", Free),
    ("container", Hash),
    ("content", Free),
];

pub(super) const CHOICE: FieldTable = &[
    ("index", Settings),
    ("message", In(ObjectKind::Message)),
    ("delta", In(ObjectKind::Message)),
    ("finish_reason", Enumerated),
    ("text", Free),
];

pub(super) const ERROR: FieldTable = &[("type", Enumerated), ("message", Free), ("code", Settings), ("param", Free)];
