//! Whether the chunks of a streamed chat completion, or of a continued text, follow their protocol.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::event_data::fields_of;
use super::stream_problems::stream_problems;
use crate::trace::Trace;
use crate::trace::arguments::{CallEnd, argument_fault, spelled_arguments};
use crate::wire::DONE;

/// What is wrong with the chunks, a sentence each. A stream may end early unless the outcome is `complete`.
pub(super) fn problems_of(trace: &Trace) -> Vec<String> {
    stream_problems(trace, |stream: &mut ChatStream, event| stream.chunk(&event.data), ChatStream::left_open)
}

/// How a call ends in an alternative that ended for this reason. `is_last`: whether no call follows it.
pub(super) fn call_end(finish_reason: Option<&str>, is_last: bool) -> CallEnd {
    let cuts = matches!(finish_reason, Some("length" | "content_filter"));
    if cuts && is_last { CallEnd::MayBeCut } else { CallEnd::Finished }
}

/// How far a stream has come.
#[derive(Default)]
struct ChatStream {
    /// Whether `[DONE]` came.
    done: bool,
    failed: bool,
    choices: BTreeMap<u64, Alternative>,
}

/// One of the alternatives.
#[derive(Default)]
struct Alternative {
    finish_reason: Option<String>,
    /// The arguments of its calls so far, in order.
    calls: Vec<String>,
}

impl ChatStream {
    /// Takes the next chunk. The error says what is wrong with it.
    fn chunk(&mut self, data: &Value) -> Result<(), String> {
        if self.done {
            return Err(format!("it comes after {DONE}"));
        }
        if data.as_str().is_some_and(|text| text.trim() == DONE) {
            self.done = true;
            return Ok(());
        }
        let fields = fields_of(data)?;
        if fields.get("error").is_some_and(|error| !error.is_null()) {
            self.failed = true;
            return Ok(());
        }
        let choices = match fields.get("choices") {
            Some(Value::Array(choices)) => &choices[..],
            // The chunk with the usage, of some servers.
            Some(Value::Null) => &[],
            _ => return Err("it has no list of choices".into()),
        };
        for (position, choice) in (0..).zip(choices) {
            self.choice(position, choice).map_err(|problem| format!("choices[{position}]: {problem}"))?;
        }
        Ok(())
    }

    fn choice(&mut self, position: u64, choice: &Value) -> Result<(), String> {
        let Some(fields) = choice.as_object() else { return Err("it is no object".into()) };
        let index = match fields.get("index") {
            Some(index) => index.as_u64().ok_or("its index is no number")?,
            // Some servers leave it out.
            None => position,
        };
        let empty = Map::new();
        let delta = match fields.get("delta") {
            Some(Value::Object(delta)) => delta,
            Some(Value::Null) | None => &empty,
            Some(_) => return Err("its delta is no object".into()),
        };
        let alternative = self.choices.entry(index).or_default();
        let is_late = alternative.finish_reason.is_some();
        if let Some(reason) = fields.get("finish_reason").and_then(Value::as_str) {
            alternative.finish_reason = Some(reason.to_owned());
        }
        if is_late && adds_something(fields, delta) {
            return Err(format!("alternative {index} goes on after its finish_reason"));
        }
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            alternative.call(call)?;
        }
        Ok(())
    }

    /// What is wrong with the end of an answer that should be whole.
    fn left_open(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.failed {
            problems.push("the outcome is complete, but an error came".to_owned());
        }
        let unfinished = self.choices.iter().filter(|(_, choice)| choice.finish_reason.is_none());
        problems.extend(unfinished.map(|(index, _)| format!("alternative {index} has no finish_reason")));
        if self.choices.is_empty() && !self.done {
            problems.push(format!("there is no {DONE}"));
        }
        for (index, choice) in &self.choices {
            problems.extend(choice.faults().into_iter().map(|fault| format!("alternative {index}: {fault}")));
        }
        problems
    }
}

impl Alternative {
    /// Takes a piece of a call.
    fn call(&mut self, piece: &Value) -> Result<(), String> {
        let index = piece["index"].as_u64().ok_or("a piece of a call has no index")?;
        let due = self.calls.len() as u64;
        let called = ["function", "custom"].iter().find_map(|kind| piece[kind].as_object());
        let text = |name: &str| called.and_then(|called| called.get(name)).and_then(Value::as_str);
        if index > due {
            return Err(format!("call {index} begins, but {due} is due"));
        }
        if index == due {
            self.calls.push(String::new());
            if text("name").is_none_or(str::is_empty) {
                return Err(format!("call {index} begins without a name"));
            }
        }
        // The input of a custom tool is any text.
        if let (Some(arguments), Some(call)) = (text("arguments"), self.calls.get_mut(index as usize)) {
            call.push_str(arguments);
        }
        Ok(())
    }

    /// The calls with malformed arguments.
    fn faults(&self) -> Vec<String> {
        let faults = self.calls.iter().enumerate().filter_map(|(at, arguments)| {
            let end = call_end(self.finish_reason.as_deref(), at + 1 == self.calls.len());
            Some(format!("the arguments of call {at} {}", argument_fault(&spelled_arguments(arguments), end)?))
        });
        faults.collect()
    }
}

/// Whether a chunk has text or calls for an alternative.
fn adds_something(fields: &Map<String, Value>, delta: &Map<String, Value>) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let has_text = |fields: &Map<String, Value>, names: &[&str]| names.iter().any(|name| fields.get(*name).is_some_and(is_text));
    has_text(fields, &["text"])
        || has_text(delta, &["content", "reasoning_content", "reasoning", "refusal"])
        || delta.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{problems_of_stream, request_to};
    use super::*;
    use crate::trace::ExchangeOutcome;
    use serde_json::json;

    fn problems(chunks: &[Value]) -> String {
        problems_of_stream("/v1/chat/completions", chunks, ExchangeOutcome::Complete)
    }

    fn chunk(choice: Value) -> Value {
        json!({"object": "chat.completion.chunk", "choices": [choice]})
    }

    fn says(text: &str) -> Value {
        chunk(json!({"index": 0, "delta": {"content": text}, "finish_reason": null}))
    }

    fn calls(index: u64, name: Option<&str>, arguments: &str) -> Value {
        let call = json!({"index": index, "id": "call_1", "function": {"name": name, "arguments": arguments}});
        chunk(json!({"index": 0, "delta": {"tool_calls": [call]}}))
    }

    fn ends(reason: &str) -> Value {
        chunk(json!({"index": 0, "delta": {}, "finish_reason": reason}))
    }

    #[test]
    fn a_stream_in_order_has_no_problems() {
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 5}});
        let done = json!(DONE);
        let text = [says("Hi"), ends("stop"), usage, done.clone()];
        assert_eq!(problems(&text), "");
        // Some servers end without a word.
        assert_eq!(problems(&text[..2]), "");
        let other = chunk(json!({"index": 1, "delta": {"content": "Ho"}, "finish_reason": "stop"}));
        let calling = [
            says("Hi"),
            calls(0, Some("Read"), "{\"a\""),
            other,
            calls(0, None, ": 1}"),
            calls(1, Some("List"), ""),
            ends("tool_calls"),
        ];
        assert_eq!(problems(&calling), "");
        let cut = [calls(0, Some("Bash"), "{}"), calls(1, Some("Bash"), "{\"command\": \"rm"), ends("length"), done.clone()];
        assert_eq!(problems(&cut), "");
        let custom = json!({"index": 0, "type": "custom", "custom": {"name": "patch", "input": "no JSON"}});
        assert_eq!(problems(&[chunk(json!({"index": 0, "delta": {"tool_calls": [custom]}})), ends("tool_calls"), done]), "");
        for end in 0..calling.len() {
            assert_eq!(problems_of_stream("/v1/chat/completions", &calling[..end], ExchangeOutcome::ClientClosed), "");
        }
    }

    #[test]
    fn every_break_of_the_protocol_is_named() {
        insta::assert_snapshot!(problems(&[json!("{\"cho"), says("a"), ends("stop")]), @"response.events[0]: its data is no JSON: EOF while parsing a string at line 1 column 5");
        insta::assert_snapshot!(problems(&[json!(5), says("a"), ends("stop")]), @"response.events[0]: its data is a number, no JSON object");
        insta::assert_snapshot!(problems(&[json!({"type": "ping"}), ends("stop")]), @"response.events[0]: it has no list of choices");
        insta::assert_snapshot!(problems(&[says("a")]), @"response.events: alternative 0 has no finish_reason");
        insta::assert_snapshot!(problems(&[json!({"choices": []})]), @"response.events: there is no [DONE]");
        insta::assert_snapshot!(problems(&[ends("stop"), says("a")]), @"response.events[1]: choices[0]: alternative 0 goes on after its finish_reason");
        insta::assert_snapshot!(problems(&[ends("stop"), json!(DONE), says("a")]), @"response.events[2]: it comes after [DONE]");
        insta::assert_snapshot!(problems(&[calls(1, Some("Read"), "{}"), ends("stop")]), @"response.events[0]: choices[0]: call 1 begins, but 0 is due");
        insta::assert_snapshot!(problems(&[calls(0, None, "{}"), ends("stop")]), @"response.events[0]: choices[0]: call 0 begins without a name");
        insta::assert_snapshot!(problems(&[calls(0, Some("Read"), "{\"a\": "), ends("tool_calls")]), @"response.events: alternative 0: the arguments of call 0 are no JSON object: EOF while parsing a value at line 1 column 6");
        insta::assert_snapshot!(problems(&[calls(0, Some("Read"), "{\"a\": "), calls(1, Some("Read"), "{"), ends("length")]), @"response.events: alternative 0: the arguments of call 0 are no JSON object: EOF while parsing a value at line 1 column 6");
        insta::assert_snapshot!(problems(&[says("a"), json!({"error": {"message": "gone"}})]), @r"
        response.events: the outcome is complete, but an error came
        response.events: alternative 0 has no finish_reason
        ");
        insta::assert_snapshot!(problems(&[chunk(json!({"index": "0", "delta": {}})), ends("stop")]), @"response.events[0]: choices[0]: its index is no number");
        insta::assert_snapshot!(problems(&[chunk(json!({"index": 0, "delta": "a"})), ends("stop")]), @"response.events[0]: choices[0]: its delta is no object");
    }

    #[test]
    fn a_continued_text_is_judged_likewise() {
        let text = |text: &str, reason: Value| json!({"object": "text_completion", "choices": [{"text": text, "index": 0, "finish_reason": reason}]});
        let found = |chunks: &[Value]| problems_of_stream("/v1/completions", chunks, ExchangeOutcome::Complete);
        assert_eq!(request_to("/v1/completions")["prompt"], "hi");
        assert_eq!(found(&[text("a", Value::Null), text("", json!("stop")), json!(DONE)]), "");
        insta::assert_snapshot!(found(&[text("", json!("stop")), text("a", Value::Null)]), @"response.events[1]: choices[0]: alternative 0 goes on after its finish_reason");
    }
}
