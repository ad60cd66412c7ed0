//! What follows from a trace's events: the message they assemble to, and the timing.

use serde_json::{Map, Value};

use super::{ItlPercentiles, RecordedEvent, Timing, call_arguments};

impl Timing {
    /// The timing of a streamed answer.
    pub fn of_events(events: &[RecordedEvent]) -> Self {
        let content: Vec<u64> = events.iter().filter(|e| e.is_content()).map(|e| e.at_us).collect();
        let gaps: Vec<u64> = content.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        Self {
            ttft_us: content.first().copied(),
            e2e_us: events.iter().find(|e| e.event == "message_stop").map(|e| e.at_us),
            itl_us: ItlPercentiles::of(gaps),
        }
    }
}

impl ItlPercentiles {
    /// Nearest-rank percentiles of gaps in microseconds; `None` without gaps.
    fn of(mut gaps: Vec<u64>) -> Option<Self> {
        gaps.sort_unstable();
        let last = gaps.len().checked_sub(1)?;
        let rank = |percent: usize| gaps[(gaps.len() * percent).div_ceil(100).saturating_sub(1).min(last)];
        Some(Self { p50: rank(50), p90: rank(90), p99: rank(99) })
    }
}

impl RecordedEvent {
    /// Whether the event carries content. TTFT and the gaps between tokens are measured between such events.
    ///
    /// The start of a `tool_use` block counts, because it carries the tool's name; that of an empty text block does not.
    pub fn is_content(&self) -> bool {
        let is = |value: &Value, kind: &str| value["type"].as_str() == Some(kind);
        match self.data["type"].as_str() {
            Some("content_block_start") => is(&self.data["content_block"], "tool_use"),
            Some("content_block_delta") => !is(&self.data["delta"], "signature_delta"),
            _ => false,
        }
    }
}

/// The message that the events assemble to, as JSON; null before `message_start`.
///
/// It works on JSON, because a trace keeps what was received: blocks and fields that this version does not know are assembled
/// too. Events that break the protocol are skipped. A tool call keeps its empty input if it was cut off, or if its arguments are
/// more than a trace can hold; the events have them.
pub fn assemble(events: &[RecordedEvent]) -> Value {
    let mut message = Value::Null;
    let mut input_json = String::new();
    for RecordedEvent { data, .. } in events {
        match data.get("type").and_then(Value::as_str) {
            Some("message_start") => message = data["message"].clone(),
            Some("content_block_start") => {
                input_json.clear();
                if let Some(content) = message.get_mut("content").and_then(Value::as_array_mut) {
                    content.push(data["content_block"].clone());
                }
            }
            Some("content_block_delta") => {
                if let Some(block) = open_block(&mut message, data) {
                    apply_delta(block, &data["delta"], &mut input_json);
                }
            }
            Some("content_block_stop") => {
                if let Some(block) = open_block(&mut message, data)
                    && let Some(input) = call_arguments(&input_json)
                {
                    block.insert("input".into(), input);
                }
                input_json.clear();
            }
            Some("message_delta") => {
                let Some(message) = message.as_object_mut() else { continue };
                merge(message, &data["delta"]);
                if let Some(usage) = message.get_mut("usage").and_then(Value::as_object_mut) {
                    merge(usage, &data["usage"]);
                }
            }
            _ => {}
        }
    }
    message
}

/// The block that an event belongs to.
fn open_block<'a>(message: &'a mut Value, data: &Value) -> Option<&'a mut Map<String, Value>> {
    let index = usize::try_from(data["index"].as_u64()?).ok()?;
    message.get_mut("content")?.get_mut(index)?.as_object_mut()
}

/// Appends a delta's strings to the block's fields. The pieces of a tool call's arguments are collected in `input_json`.
fn apply_delta(block: &mut Map<String, Value>, delta: &Value, input_json: &mut String) {
    let Some(fields) = delta.as_object() else { return };
    for (key, value) in fields.iter().filter(|(key, _)| *key != "type") {
        match (key.as_str(), value) {
            ("partial_json", Value::String(piece)) => input_json.push_str(piece),
            (_, Value::String(piece)) => match block.get_mut(key) {
                Some(Value::String(text)) => text.push_str(piece),
                _ => drop(block.insert(key.clone(), value.clone())),
            },
            // A citation is added to the block's list.
            ("citation", _) => match block.get_mut("citations") {
                Some(Value::Array(citations)) => citations.push(value.clone()),
                _ => drop(block.insert("citations".into(), Value::Array(vec![value.clone()]))),
            },
            _ => drop(block.insert(key.clone(), value.clone())),
        }
    }
}

/// Overwrites fields with those of a newer object that are not null. `message_delta` repeats only some fields.
fn merge(base: &mut Map<String, Value>, newer: &Value) {
    let Some(newer) = newer.as_object() else { return };
    for (key, value) in newer.iter().filter(|(key, value)| !value.is_null() || !base.contains_key(*key)).collect::<Vec<_>>() {
        base.insert(key.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(at_us: u64, data: Value) -> RecordedEvent {
        RecordedEvent { at_us, event: data["type"].as_str().unwrap().into(), data }
    }

    fn stream() -> Vec<RecordedEvent> {
        vec![
            event(
                10,
                json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m",
                "content":[],"stop_reason":null,"usage":{"input_tokens":7,"output_tokens":1}}}),
            ),
            event(20, json!({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})),
            event(30, json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Let me "}})),
            event(35, json!({"type":"ping"})),
            event(50, json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"look."}})),
            event(51, json!({"type":"content_block_stop","index":0})),
            event(
                60,
                json!({"type":"content_block_start","index":1,"content_block":
                {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}),
            ),
            event(
                90,
                json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}),
            ),
            event(
                95,
                json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\"x\"}"}}),
            ),
            event(96, json!({"type":"content_block_stop","index":1})),
            event(
                97,
                json!({"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},
                "usage":{"output_tokens":9}}),
            ),
            event(98, json!({"type":"message_stop"})),
        ]
    }

    #[test]
    fn blocks_that_this_version_does_not_know_are_assembled_too() {
        assert_eq!(
            assemble(&stream()),
            json!({"id":"msg_1","type":"message","role":"assistant","model":"m",
                "content":[{"type":"text","text":"Let me look."},
                    {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"q":"x"}}],
                "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":9}})
        );
    }

    #[test]
    fn a_cut_off_tool_call_keeps_its_empty_input() {
        let message = assemble(&stream()[..8]);
        assert_eq!(message["content"][1]["input"], json!({}));
    }

    #[test]
    fn no_events_make_null() {
        assert_eq!(assemble(&[]), Value::Null);
        assert_eq!(assemble(&stream()[1..]), Value::Null);
    }

    #[test]
    fn thinking_and_its_signature_are_joined() {
        let events = [
            stream()[0].clone(),
            event(
                1,
                json!({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}),
            ),
            event(2, json!({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}})),
            event(3, json!({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m."}})),
            event(4, json!({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}})),
        ];
        assert_eq!(assemble(&events)["content"][0], json!({"type":"thinking","thinking":"Hmm.","signature":"c2ln"}));
    }

    #[test]
    fn ttft_is_the_first_content_event_and_pings_make_no_gap() {
        assert_eq!(
            Timing::of_events(&stream()),
            Timing { ttft_us: Some(30), e2e_us: Some(98), itl_us: Some(ItlPercentiles { p50: 20, p90: 40, p99: 40 }) }
        );
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        assert_eq!(ItlPercentiles::of(vec![]), None);
        assert_eq!(ItlPercentiles::of(vec![5]), Some(ItlPercentiles { p50: 5, p90: 5, p99: 5 }));
        assert_eq!(ItlPercentiles::of((1..=100).rev().collect()), Some(ItlPercentiles { p50: 50, p90: 90, p99: 99 }));
    }
}
