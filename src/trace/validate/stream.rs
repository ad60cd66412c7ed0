//! Whether the events of a streamed message follow the protocol.

use serde_json::Value;

use crate::trace::{ExchangeOutcome, Trace};

/// What is wrong with the events of a Messages stream, a sentence each. A stream may end early unless the outcome is `complete`.
pub(super) fn problems_of(trace: &Trace) -> Vec<String> {
    let mut stream = Stream::default();
    for (position, event) in trace.response.events.iter().enumerate() {
        if let Err(problem) = stream.event(&event.event, &event.data) {
            stream.problems.push(format!("response.events[{position}]: {problem}"));
        }
    }
    if trace.outcome == ExchangeOutcome::Complete
        && let Some(index) = stream.open
    {
        stream.problems.push(format!("response.events: content block {index} is left open"));
    }
    stream.problems
}

/// How far a stream has come.
#[derive(Default)]
struct Stream {
    started: bool,
    stopped: bool,
    /// The content block that is open.
    open: Option<u64>,
    /// The index of the next content block.
    due: u64,
    problems: Vec<String>,
}

impl Stream {
    /// Takes the next event. The error says what is wrong with it.
    fn event(&mut self, name: &str, data: &Value) -> Result<(), String> {
        if data.is_string() {
            return Err("its data is no JSON".into());
        }
        let kind = data["type"].as_str().unwrap_or(name);
        if kind != name {
            return Err(format!("its name is {name}, but its type is {kind}"));
        }
        if self.stopped {
            return Err(format!("{kind} after message_stop"));
        }
        let is_early = !self.started && !matches!(kind, "ping" | "error" | "message_start");
        let step = match kind {
            "message_start" if self.started => Err("a second message_start".into()),
            "message_start" => Ok(()),
            "content_block_start" => index_of(data).and_then(|index| self.start(index)),
            "content_block_delta" => index_of(data).and_then(|index| self.in_block("a delta of", index)),
            "content_block_stop" => index_of(data).and_then(|index| self.end(index)),
            "message_stop" => self.stop(),
            _ => Ok(()),
        };
        // Said once.
        self.started |= is_early || kind == "message_start";
        if is_early { Err(format!("{kind} before message_start")) } else { step }
    }

    fn start(&mut self, index: u64) -> Result<(), String> {
        let (open, due) = (self.open.replace(index), self.due);
        self.due = index.saturating_add(1);
        match open {
            Some(open) => Err(format!("content block {index} starts while {open} is open")),
            None if index != due => Err(format!("content block {index} starts, but {due} is due")),
            None => Ok(()),
        }
    }

    fn end(&mut self, index: u64) -> Result<(), String> {
        self.in_block("the end of", index)?;
        self.open = None;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.stopped = true;
        match self.open.take() {
            Some(index) => Err(format!("message_stop while content block {index} is open")),
            None => Ok(()),
        }
    }

    fn in_block(&self, what: &str, index: u64) -> Result<(), String> {
        if self.open == Some(index) { Ok(()) } else { Err(format!("{what} content block {index}, which is not open")) }
    }
}

fn index_of(data: &Value) -> Result<u64, String> {
    data["index"].as_u64().ok_or_else(|| "it has no index".into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
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
        insta::assert_snapshot!(problems(&[block(0), end(0), stop()]), @"response.events[0]: content_block_start before message_start");
        insta::assert_snapshot!(problems(&[start(), start(), stop()]), @"response.events[1]: a second message_start");
        insta::assert_snapshot!(problems(&[start(), delta(0, "{}"), end(0), stop()]), @r"
        response.events[1]: a delta of content block 0, which is not open
        response.events[2]: the end of content block 0, which is not open
        ");
        insta::assert_snapshot!(problems(&[start(), block(0), end(0), block(2), end(2), block(2), end(2), stop()]), @r"
        response.events[3]: content block 2 starts, but 1 is due
        response.events[5]: content block 2 starts, but 3 is due
        ");
        insta::assert_snapshot!(problems(&[start(), block(0), block(1), end(1), stop()]), @"response.events[2]: content block 1 starts while 0 is open");
        insta::assert_snapshot!(problems(&[start(), block(0), delta(1, "{}"), end(0), stop()]), @"response.events[2]: a delta of content block 1, which is not open");
        insta::assert_snapshot!(problems(&[start(), block(0), stop()]), @"response.events[2]: message_stop while content block 0 is open");
        insta::assert_snapshot!(problems(&[start(), block(0)]), @"response.events: content block 0 is left open");
        insta::assert_snapshot!(problems(&[start(), json!("{\"type\": \"pi"), stop()]), @"response.events[1]: its data is no JSON");
        insta::assert_snapshot!(problems(&[start(), stop(), json!({"type": "ping"}), stop()]), @r"
        response.events[2]: ping after message_stop
        response.events[3]: message_stop after message_stop
        ");
        insta::assert_snapshot!(problems(&[start(), json!({"type": "content_block_stop"}), stop()]), @"response.events[1]: it has no index");
        let mut misnamed = trace(&[start(), stop()], ExchangeOutcome::Complete);
        misnamed.response.events[1].event = "ping".into();
        insta::assert_snapshot!(problems_of(&misnamed).join("\n"), @"response.events[1]: its name is ping, but its type is message_stop");
    }
}
