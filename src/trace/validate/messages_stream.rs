//! Whether the events of a streamed message follow the protocol.

use serde_json::{Map, Value};

use super::event_data::{fields_of, number_in, type_of};
use super::stream_problems::stream_problems;
use crate::trace::Trace;

/// What is wrong with the events of a Messages stream, a sentence each. A stream may end early unless the outcome is `complete`.
pub(super) fn problems_of(trace: &Trace) -> Vec<String> {
    let at_end = |stream: &MessagesStream| stream.left_open().into_iter().collect();
    stream_problems(trace, |stream: &mut MessagesStream, event| stream.event(&event.event, &event.data), at_end)
}

/// The deltas that are known, with the field that has their piece, and the blocks that they add to.
const DELTAS: [(&str, &str, &[&str]); 6] = [
    ("text_delta", "text", &["text"]),
    ("citations_delta", "citation", &["text"]),
    ("input_json_delta", "partial_json", &["tool_use", "server_tool_use", "mcp_tool_use"]),
    ("thinking_delta", "thinking", &["thinking"]),
    ("signature_delta", "signature", &["thinking"]),
    ("compaction_delta", "content", &["compaction"]),
];

/// The judge of a Messages stream: how far it has come. A replay asks the same one about the answers of a backend.
#[derive(Default)]
pub(crate) struct MessagesStream {
    started: bool,
    /// Whether a `message_delta` came.
    has_delta: bool,
    /// Whether a `message_delta` gave the stop reason.
    has_reason: bool,
    stopped: bool,
    /// The content block that is open.
    open: Option<StartedBlock>,
    /// The index of the next content block.
    due: u64,
}

struct StartedBlock {
    index: u64,
    /// Its type.
    kind: String,
}

impl MessagesStream {
    /// Takes the next event.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn event(&mut self, name: &str, data: &Value) -> Result<(), String> {
        let fields = fields_of(data)?;
        let kind = type_of(name, fields)?;
        if self.stopped {
            return Err(format!("{kind} after message_stop"));
        }
        let is_early = !self.started && !matches!(kind, "ping" | "error" | "message_start");
        let step = match kind {
            "message_start" if self.started => Err("a second message_start".into()),
            "message_start" => Ok(()),
            "content_block_start" => number_in(fields, "index").and_then(|index| self.start(index, fields)),
            "content_block_delta" => number_in(fields, "index").and_then(|index| self.delta(index, fields)),
            "content_block_stop" => number_in(fields, "index").and_then(|index| self.end(index)),
            "message_delta" => self.message_delta(fields),
            "message_stop" => self.stop(),
            _ => Ok(()),
        };
        // Only the first event that is too early is named.
        self.started |= is_early || kind == "message_start";
        if is_early { Err(format!("{kind} before message_start")) } else { step }
    }

    fn start(&mut self, index: u64, fields: &Map<String, Value>) -> Result<(), String> {
        let block = fields.get("content_block").unwrap_or(&Value::Null);
        let kind = block["type"].as_str();
        let open = self.open.replace(StartedBlock { index, kind: kind.unwrap_or_default().to_owned() });
        let due = std::mem::replace(&mut self.due, index.saturating_add(1));
        match open {
            Some(open) => Err(format!("content block {index} starts while {} is open", open.index)),
            None if index != due => Err(format!("content block {index} starts, but {due} is due")),
            None if self.has_reason => Err(format!("content block {index} starts after the stop reason")),
            None if kind.is_none() => Err("its content_block has no type".into()),
            None => Ok(()),
        }
    }

    fn delta(&mut self, index: u64, fields: &Map<String, Value>) -> Result<(), String> {
        let block = self.block("a delta of", index)?;
        let delta = fields.get("delta").unwrap_or(&Value::Null);
        let Some(kind) = delta["type"].as_str() else { return Err("its delta has no type".into()) };
        let Some((_, piece, hosts)) = DELTAS.iter().find(|(known, ..)| *known == kind) else { return Ok(()) };
        // A block that is not known may have any delta.
        let is_known = block.kind.ends_with("_result")
            || block.kind == "redacted_thinking"
            || DELTAS.iter().any(|(.., hosts)| hosts.contains(&block.kind.as_str()));
        if is_known && !hosts.contains(&block.kind.as_str()) {
            Err(format!("{kind} in content block {index}, which is a {} block", block.kind))
        } else if delta.get(piece).is_none() {
            Err(format!("its {kind} has no {piece}"))
        } else {
            Ok(())
        }
    }

    fn end(&mut self, index: u64) -> Result<(), String> {
        self.block("the end of", index)?;
        self.open = None;
        Ok(())
    }

    fn message_delta(&mut self, fields: &Map<String, Value>) -> Result<(), String> {
        self.has_delta = true;
        self.has_reason |= fields.get("delta").is_some_and(|delta| delta["stop_reason"].is_string());
        match &self.open {
            Some(block) => Err(format!("message_delta while content block {} is open", block.index)),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> Result<(), String> {
        self.stopped = true;
        match self.open.take() {
            Some(block) => Err(format!("message_stop while content block {} is open", block.index)),
            None if !self.has_delta => Err("message_stop without a message_delta before it".into()),
            None if !self.has_reason => Err("message_stop, but no message_delta has a stop_reason".into()),
            None => Ok(()),
        }
    }

    /// The block at this index, which must be the open one.
    fn block(&self, what: &str, index: u64) -> Result<&StartedBlock, String> {
        let open = self.open.as_ref().filter(|open| open.index == index);
        open.ok_or_else(|| format!("{what} content block {index}, which is not open"))
    }

    /// What is wrong with the end of an answer that should be whole.
    fn left_open(&self) -> Option<String> {
        let block = self.open.as_ref().map(|block| format!("content block {} is left open", block.index));
        block.or_else(|| (!self.stopped).then(|| "there is no message_stop".into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::trace::ExchangeOutcome;
    use crate::trace::testing::opening;
    use crate::trace::{Draft, RecordedEvent};

    fn trace(events: &[Value], outcome: ExchangeOutcome) -> Trace {
        let mut draft = Draft::new(opening("/v1/messages", Value::Null));
        draft.respond(200, Map::new());
        for data in events {
            let event = data["type"].as_str().unwrap_or("message").to_owned();
            draft.push(RecordedEvent { at_us: 1, event, data: data.clone() });
        }
        draft.to_trace(outcome, None)
    }

    fn start() -> Value {
        json!({"type": "message_start", "message": {"type": "message", "content": []}})
    }

    fn block(index: u64) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "id": "t", "name": "Read", "input": {}}})
    }

    fn delta(index: u64, json: &str) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": json}})
    }

    fn end(index: u64) -> Value {
        json!({"type": "content_block_stop", "index": index})
    }

    fn reason(reason: &str) -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}})
    }

    fn stop() -> Value {
        json!({"type": "message_stop"})
    }

    fn problems(events: &[Value]) -> String {
        problems_of(&trace(events, ExchangeOutcome::Complete)).join("\n")
    }

    #[test]
    fn a_stream_in_order_has_no_problems() {
        let ping = json!({"type": "ping"});
        let future = json!({"type": "future_thing"});
        let events = [
            ping,
            start(),
            block(0),
            delta(0, "{\"a\""),
            delta(0, ":1}"),
            end(0),
            block(1),
            end(1),
            future,
            reason("tool_use"),
            stop(),
        ];
        assert_eq!(problems(&events), "");
        // One that was cut off may end anywhere.
        for end in 0..events.len() {
            assert_eq!(problems_of(&trace(&events[..end], ExchangeOutcome::Truncated)), Vec::<String>::new());
        }
    }

    #[test]
    fn every_break_of_the_protocol_is_named() {
        insta::assert_snapshot!(problems(&[block(0), end(0), reason("end_turn"), stop()]), @"response.events[0]: content_block_start before message_start");
        insta::assert_snapshot!(problems(&[start(), start(), reason("end_turn"), stop()]), @"response.events[1]: a second message_start");
        insta::assert_snapshot!(problems(&[start(), delta(0, "{}"), end(0), reason("end_turn"), stop()]), @r"
        response.events[1]: a delta of content block 0, which is not open
        response.events[2]: the end of content block 0, which is not open
        ");
        insta::assert_snapshot!(problems(&[start(), block(0), end(0), block(2), end(2), block(2), end(2), reason("end_turn"), stop()]), @r"
        response.events[3]: content block 2 starts, but 1 is due
        response.events[5]: content block 2 starts, but 3 is due
        ");
        insta::assert_snapshot!(problems(&[start(), block(0), block(1), end(1), reason("end_turn"), stop()]), @"response.events[2]: content block 1 starts while 0 is open");
        insta::assert_snapshot!(problems(&[start(), block(0), delta(1, "{}"), end(0), reason("end_turn"), stop()]), @"response.events[2]: a delta of content block 1, which is not open");
        insta::assert_snapshot!(problems(&[start(), block(0), stop()]), @"response.events[2]: message_stop while content block 0 is open");
        insta::assert_snapshot!(problems(&[start(), block(0)]), @"response.events: content block 0 is left open");
        insta::assert_snapshot!(problems(&[start(), json!("{\"type\": \"pi"), reason("end_turn"), stop()]), @"response.events[1]: its data is no JSON: EOF while parsing a string at line 1 column 12");
        insta::assert_snapshot!(problems(&[start(), reason("end_turn"), stop(), json!({"type": "ping"}), stop()]), @r"
        response.events[3]: ping after message_stop
        response.events[4]: message_stop after message_stop
        ");
        insta::assert_snapshot!(problems(&[start(), json!({"type": "content_block_stop"}), reason("end_turn"), stop()]), @"response.events[1]: it has no index");
        let mut misnamed = trace(&[start(), stop(), reason("end_turn")], ExchangeOutcome::Truncated);
        misnamed.response.events[1].event = "ping".into();
        insta::assert_snapshot!(problems_of(&misnamed).join("\n"), @"response.events[1]: its name is ping, but its type is message_stop");
        insta::assert_snapshot!(problems(&[start(), block(0), end(0), stop()]), @"response.events[3]: message_stop without a message_delta before it");
        insta::assert_snapshot!(problems(&[start(), json!({"type": "message_delta", "delta": {}}), stop()]), @"response.events[2]: message_stop, but no message_delta has a stop_reason");
        insta::assert_snapshot!(problems(&[start(), block(0), reason("tool_use"), end(0), stop()]), @"response.events[2]: message_delta while content block 0 is open");
        insta::assert_snapshot!(problems(&[start(), reason("tool_use"), block(0), end(0), stop()]), @"response.events[2]: content block 0 starts after the stop reason");
        insta::assert_snapshot!(problems(&[start(), reason("end_turn")]), @"response.events: there is no message_stop");
        for (data, is) in [(json!(5), "a number"), (json!(null), "null"), (json!([]), "a list")] {
            let found = problems(&[start(), data, reason("end_turn"), stop()]);
            assert_eq!(found, format!("response.events[1]: its data is {is}, no JSON object"));
        }
        insta::assert_snapshot!(problems(&[start(), json!({"type": "content_block_start", "index": 0}), end(0), reason("end_turn"), stop()]), @"response.events[1]: its content_block has no type");
    }

    #[test]
    fn a_delta_fits_its_block() {
        let found = |block: &str, delta: Value| {
            let start_of_block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": block}});
            let delta = json!({"type": "content_block_delta", "index": 0, "delta": delta});
            problems(&[start(), start_of_block, delta, end(0), reason("end_turn"), stop()])
        };
        for (block, delta, piece) in [
            ("text", "text_delta", "text"),
            ("text", "citations_delta", "citation"),
            ("thinking", "signature_delta", "signature"),
            ("mcp_tool_use", "input_json_delta", "partial_json"),
            ("compaction", "compaction_delta", "content"),
            ("future_block", "text_delta", "text"),
            ("text", "future_delta", "text"),
        ] {
            assert_eq!(found(block, json!({"type": delta, piece: "x"})), "", "{block} {delta}");
        }
        insta::assert_snapshot!(found("tool_use", json!({"type": "text_delta", "text": "x"})), @"response.events[2]: text_delta in content block 0, which is a tool_use block");
        insta::assert_snapshot!(found("text", json!({"type": "input_json_delta", "partial_json": "{}"})), @"response.events[2]: input_json_delta in content block 0, which is a text block");
        insta::assert_snapshot!(found("web_search_tool_result", json!({"type": "text_delta", "text": "x"})), @"response.events[2]: text_delta in content block 0, which is a web_search_tool_result block");
        insta::assert_snapshot!(found("thinking", json!({"type": "thinking_delta", "text": "x"})), @"response.events[2]: its thinking_delta has no thinking");
        insta::assert_snapshot!(found("text", json!({"text": "x"})), @"response.events[2]: its delta has no type");
        insta::assert_snapshot!(found("text", json!("x")), @"response.events[2]: its delta has no type");
    }
}
