//! Whether the events of a streamed response follow the Responses API.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::event_data::{fields_of, number_in, type_of};
use super::stream_problems::stream_problems;
use crate::trace::Trace;
use crate::trace::arguments::{CallEnd, argument_fault, spelled_arguments};
use crate::trace::redact::REDACTED;

/// What is wrong with the events, a sentence each. A stream may end early unless the outcome is `complete`.
pub(super) fn problems_of(trace: &Trace) -> Vec<String> {
    let at_end = |stream: &ResponsesStream| stream.left_open().map(str::to_owned).into_iter().chain(stream.faults()).collect();
    stream_problems(trace, |stream: &mut ResponsesStream, event| stream.event(&event.event, &event.data), at_end)
}

/// What the end of a text has the whole of it in.
const WHOLES: [&str; 5] = ["text", "arguments", "input", "refusal", "code"];

/// How far a stream has come.
#[derive(Default)]
struct ResponsesStream {
    created: bool,
    /// The event that ended the response.
    ended: Option<String>,
    failed: bool,
    /// The number of the last event.
    sequence: Option<u64>,
    /// The items that are open: their texts so far, by what they are.
    open: BTreeMap<u64, BTreeMap<TextPlace, String>>,
    /// The index of the next item.
    due: u64,
    /// The arguments of the function calls that ended, with the index of their items.
    calls: Vec<(u64, Value)>,
}

/// A text of an item: the type of its events without their ends, and the part that it belongs to.
type TextPlace = (String, u64);

impl ResponsesStream {
    /// Takes the next event. The error says what is wrong with it.
    fn event(&mut self, name: &str, data: &Value) -> Result<(), String> {
        let fields = fields_of(data)?;
        let kind = type_of(name, fields)?;
        if let Some(ended) = &self.ended {
            return Err(format!("{kind} after {ended}"));
        }
        let number = fields.get("sequence_number").and_then(Value::as_u64);
        let before = self.sequence;
        self.sequence = number.or(before);
        let is_early = !self.created && !matches!(kind, "response.created" | "error");
        let step = self.step(kind, fields);
        // Only the first event that is too early is named.
        self.created |= is_early || kind == "response.created";
        if is_early {
            return Err(format!("{kind} before response.created"));
        }
        match (before, number) {
            (Some(before), Some(number)) if before.checked_add(1) != Some(number) => {
                Err(format!("sequence_number {number} follows {before}"))
            }
            _ => step,
        }
    }

    fn step(&mut self, kind: &str, fields: &Map<String, Value>) -> Result<(), String> {
        match kind {
            "response.created" if self.created => Err("a second response.created".into()),
            "error" => {
                self.failed = true;
                Ok(())
            }
            "response.completed" | "response.incomplete" | "response.failed" => self.end(kind),
            "response.output_item.added" => self.add_item(number_in(fields, "output_index")?),
            "response.output_item.done" => self.end_item(number_in(fields, "output_index")?, fields),
            _ if fields.contains_key("output_index") => self.in_item(kind, number_in(fields, "output_index")?, fields),
            _ => Ok(()),
        }
    }

    fn add_item(&mut self, index: u64) -> Result<(), String> {
        let due = std::mem::replace(&mut self.due, index.saturating_add(1));
        self.open.insert(index, BTreeMap::new());
        if index == due { Ok(()) } else { Err(format!("output item {index} begins, but {due} is due")) }
    }

    fn end_item(&mut self, index: u64, fields: &Map<String, Value>) -> Result<(), String> {
        let open = self.open.remove(&index);
        let item = fields.get("item").unwrap_or(&Value::Null);
        if item["type"] == "function_call" {
            self.calls.push((index, item["arguments"].clone()));
        }
        match open {
            Some(_) => Ok(()),
            None => Err(format!("the end of output item {index}, which is not open")),
        }
    }

    /// Something that belongs to an item: a piece of one of its texts, the end of one, or how far it is.
    fn in_item(&mut self, kind: &str, index: u64, fields: &Map<String, Value>) -> Result<(), String> {
        let Some(texts) = self.open.get_mut(&index) else {
            return Err(format!("{kind} of output item {index}, which is not open"));
        };
        let part = ["content_index", "summary_index"].into_iter().find_map(|name| fields.get(name)?.as_u64()).unwrap_or(0);
        if let (Some(text), Some(piece)) = (kind.strip_suffix(".delta"), fields.get("delta").and_then(Value::as_str)) {
            texts.entry((text.to_owned(), part)).or_default().push_str(piece);
        } else if let Some(text) = kind.strip_suffix(".done")
            && let Some(spelled) = texts.get(&(text.to_owned(), part))
            && let Some((name, whole)) = WHOLES.iter().find_map(|name| Some((name, fields.get(*name)?.as_str()?)))
            // A secret may be known in the whole only.
            && ![spelled, whole].iter().any(|text| text.contains(REDACTED))
            && spelled != whole
        {
            return Err(format!("its {name} is not what the pieces spell"));
        }
        Ok(())
    }

    fn end(&mut self, kind: &str) -> Result<(), String> {
        self.ended = Some(kind.to_owned());
        self.failed |= kind == "response.failed";
        match self.open.keys().next() {
            Some(index) if kind == "response.completed" => Err(format!("{kind} while output item {index} is open")),
            _ => Ok(()),
        }
    }

    /// What is wrong with the end of an answer that should be whole.
    fn left_open(&self) -> Option<&'static str> {
        match self.ended {
            _ if self.failed => Some("the outcome is complete, but the response failed"),
            None => Some("there is no response.completed"),
            Some(_) => None,
        }
    }

    /// The calls with malformed arguments.
    fn faults(&self) -> Vec<String> {
        let is_cut = self.ended.as_deref() == Some("response.incomplete");
        let faults = self.calls.iter().filter_map(|(index, arguments)| {
            let fault = function_call_fault(arguments, is_cut && index + 1 == self.due)?;
            Some(format!("the arguments of output item {index} {fault}"))
        });
        faults.collect()
    }
}

/// Why the arguments of an item are malformed. `may_be_cut`: whether a limit may have ended the response in them.
pub(super) fn function_call_fault(arguments: &Value, may_be_cut: bool) -> Option<String> {
    let end = if may_be_cut { CallEnd::MayBeCut } else { CallEnd::Finished };
    match arguments {
        Value::String(text) => argument_fault(&spelled_arguments(text), end),
        _ => Some("are no text".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::problems_of_stream;
    use super::*;
    use crate::trace::ExchangeOutcome;
    use serde_json::json;

    fn problems(events: &[Value]) -> String {
        problems_of_stream("/v1/responses", events, ExchangeOutcome::Complete)
    }

    fn created() -> Value {
        json!({"type": "response.created", "response": {}})
    }

    fn completed() -> Value {
        json!({"type": "response.completed", "response": {}})
    }

    fn added(index: u64) -> Value {
        json!({"type": "response.output_item.added", "output_index": index, "item": {"type": "message"}})
    }

    fn delta(index: u64, text: &str) -> Value {
        json!({"type": "response.output_text.delta", "output_index": index, "content_index": 0, "delta": text})
    }

    fn text(index: u64, text: &str) -> Value {
        json!({"type": "response.output_text.done", "output_index": index, "content_index": 0, "text": text})
    }

    fn done(index: u64) -> Value {
        json!({"type": "response.output_item.done", "output_index": index, "item": {"type": "message"}})
    }

    fn called(index: u64, arguments: &str) -> [Value; 2] {
        let item = json!({"type": "function_call", "name": "Read", "arguments": arguments});
        [added(index), json!({"type": "response.output_item.done", "output_index": index, "item": item})]
    }

    #[test]
    fn a_stream_in_order_has_no_problems() {
        let [call, call_done] = called(1, "{\"a\": 1}");
        let mut events =
            [created(), added(0), delta(0, "a"), delta(0, "b"), text(0, "ab"), done(0), call, call_done, completed()];
        assert_eq!(problems(&events), "");
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = json!(number);
        }
        assert_eq!(problems(&events), "");
        for end in 0..events.len() {
            assert_eq!(problems_of_stream("/v1/responses", &events[..end], ExchangeOutcome::Truncated), "");
        }
        let [call, cut] = called(0, "{\"a\": \"b");
        assert_eq!(problems(&[created(), call, cut, json!({"type": "response.incomplete", "response": {}})]), "");
    }

    #[test]
    fn every_break_of_the_protocol_is_named() {
        insta::assert_snapshot!(problems(&[json!(5), created(), completed()]), @"response.events[0]: its data is a number, no JSON object");
        insta::assert_snapshot!(problems(&[added(0), done(0), completed()]), @"response.events[0]: response.output_item.added before response.created");
        insta::assert_snapshot!(problems(&[created(), created(), completed()]), @"response.events[1]: a second response.created");
        insta::assert_snapshot!(problems(&[created(), added(1), done(1), completed()]), @"response.events[1]: output item 1 begins, but 0 is due");
        insta::assert_snapshot!(problems(&[created(), delta(0, "a"), done(0), completed()]), @r"
        response.events[1]: response.output_text.delta of output item 0, which is not open
        response.events[2]: the end of output item 0, which is not open
        ");
        insta::assert_snapshot!(problems(&[created(), added(0), delta(0, "a"), text(0, "b"), done(0), completed()]), @"response.events[3]: its text is not what the pieces spell");
        insta::assert_snapshot!(problems(&[created(), added(0), completed()]), @"response.events[2]: response.completed while output item 0 is open");
        insta::assert_snapshot!(problems(&[created(), completed(), added(0)]), @"response.events[2]: response.output_item.added after response.completed");
        insta::assert_snapshot!(problems(&[created()]), @"response.events: there is no response.completed");
        insta::assert_snapshot!(problems(&[created(), json!({"type": "response.failed"})]), @"response.events: the outcome is complete, but the response failed");
        insta::assert_snapshot!(problems(&[created(), json!({"type": "response.in_progress", "sequence_number": 1}), json!({"type": "response.completed", "sequence_number": 3})]), @"response.events[2]: sequence_number 3 follows 1");
        let [call, ended] = called(0, "{\"a\": \"b");
        insta::assert_snapshot!(problems(&[created(), call, ended, completed()]), @"response.events: the arguments of output item 0 are no JSON object: EOF while parsing a string at line 1 column 8");
        insta::assert_snapshot!(problems(&[created(), json!({"type": "response.output_item.added"}), completed()]), @"response.events[1]: it has no output_index");
    }
}
