//! The arguments of tool calls: those that are no JSON, and which of them are malformed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{ExchangeOutcome, RecordedEvent, Trace};
use crate::wire::StopReason;

/// The arguments of those calls that are no JSON, as text, by the index of their content block. An answer may have been cut off
/// in them.
pub fn unparsed_arguments(events: &[RecordedEvent]) -> BTreeMap<u64, String> {
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for RecordedEvent { data, .. } in events {
        let Some(index) = data["index"].as_u64() else { continue };
        match data["type"].as_str() {
            Some("content_block_start") => drop(texts.remove(&index)),
            Some("content_block_delta") => {
                if let Some(piece) = data["delta"]["partial_json"].as_str() {
                    texts.entry(index).or_default().push_str(piece);
                }
            }
            _ => {}
        }
    }
    texts.retain(|_, text| !text.is_empty() && serde_json::from_str::<IgnoredAny>(text).is_err());
    texts
}

/// Whether arguments are malformed: no JSON object, in a call that the model finished. What a limit cut off is unfinished, not
/// malformed. `arguments`: the call's input; a string if its text is no JSON.
pub fn is_malformed(arguments: &Value, stop_reason: Option<&StopReason>) -> bool {
    !arguments.is_object() && !stop_reason.is_some_and(StopReason::cuts)
}

/// The indices of the content blocks of an answer that are calls with malformed arguments.
pub(super) fn malformed_calls(trace: &Trace) -> Vec<u64> {
    let body = &trace.response.body;
    if !trace.is_messages() || trace.outcome != ExchangeOutcome::Complete {
        return Vec::new();
    }
    let reason = StopReason::deserialize(&body["stop_reason"]).ok();
    let unparsed = unparsed_arguments(&trace.response.events);
    let is_call = |block: &Value| block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use"));
    let blocks = (0..).zip(body["content"].as_array().into_iter().flatten()).filter(|(_, block)| is_call(block));
    let malformed = blocks.filter(|(index, block)| match unparsed.get(index) {
        Some(text) => is_malformed(&text.as_str().into(), reason.as_ref()),
        None => is_malformed(&block["input"], reason.as_ref()),
    });
    malformed.map(|(index, _)| index).collect()
}
