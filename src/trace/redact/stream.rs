//! Redacting a stream of events, in which a secret may be spread over several deltas.
//!
//! A delta is held back while a secret may have started in it that is not decided yet, so that no part of one is let out.

use std::collections::VecDeque;

use serde_json::Value;

use super::redactor::{Redactor, without};
use super::scanner::Scanner;
use crate::trace::RecordedEvent;

/// Where events have the text that they add: of the Messages API, of chat completions and of responses.
const DELTAS: [&str; 7] = [
    "/delta/text",
    "/delta/partial_json",
    "/delta/thinking",
    "/delta",
    "/choices/0/delta/content",
    "/choices/0/delta/reasoning_content",
    "/choices/0/delta/tool_calls/0/function/arguments",
];

/// Redacts events and keeps their order.
pub struct StreamRedactor {
    redactor: Redactor,
    scanner: Scanner,
    /// Deltas of one text that are not decided to their end, and the pings between them.
    held: VecDeque<RecordedEvent>,
    /// Where the first held delta starts, in bytes of all texts.
    held_from: usize,
    /// Where the last held delta ends.
    held_to: usize,
    /// Which text the deltas add to.
    text: Option<TextId>,
}

/// A text that deltas add to: the place in the event, and the index of the content block or tool call.
#[derive(Debug, PartialEq, Eq)]
struct TextId {
    place: &'static str,
    index: Option<u64>,
}

impl StreamRedactor {
    /// Events will be redacted with this redactor.
    pub fn new(redactor: Redactor) -> Self {
        let scanner = redactor.scanner();
        Self { redactor, scanner, held: VecDeque::new(), held_from: 0, held_to: 0, text: None }
    }

    /// Adds an event. Returns the events that can be let out now.
    pub fn push(&mut self, mut event: RecordedEvent) -> Vec<RecordedEvent> {
        let Some(id) = text_id(&event.data) else {
            if event.event == "ping" && !self.held.is_empty() {
                self.held.push_back(event);
                return Vec::new();
            }
            let mut out = self.finish();
            self.redactor.json(&mut event.data);
            out.push(event);
            return out;
        };
        let mut out = if self.text.as_ref() == Some(&id) { Vec::new() } else { self.finish() };
        if let Some(text) = delta(&mut event.data, id.place) {
            self.scanner.push(text);
            self.held_to += text.len();
        }
        self.text = Some(id);
        self.held.push_back(event);
        out.extend(self.let_out());
        out
    }

    /// Lets out what is held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<RecordedEvent> {
        self.scanner.end();
        let out = self.let_out();
        self.text = None;
        out
    }

    /// The events at the front whose text is decided.
    fn let_out(&mut self) -> Vec<RecordedEvent> {
        let decided = self.scanner.decided();
        let mut out = Vec::new();
        while let Some(event) = self.held.front_mut() {
            let text = self.text.as_ref().and_then(|id| delta(&mut event.data, id.place));
            if let Some(text) = text {
                let end = self.held_from + text.len();
                if end > decided {
                    break;
                }
                *text = without(text, self.held_from, self.scanner.found(self.held_from));
                self.held_from = end;
            }
            out.extend(self.held.pop_front());
        }
        out
    }
}

/// The text that an event adds to.
fn text_id(data: &Value) -> Option<TextId> {
    let place = DELTAS.into_iter().find(|place| data.pointer(place).is_some_and(Value::is_string))?;
    let index = ["/index", "/choices/0/delta/tool_calls/0/index", "/output_index"];
    Some(TextId { place, index: index.iter().find_map(|place| data.pointer(place)?.as_u64()) })
}

/// The text that a delta adds; `None` for other events.
fn delta<'a>(data: &'a mut Value, place: &str) -> Option<&'a mut String> {
    match data.pointer_mut(place) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn delta(text: &str) -> RecordedEvent {
        let data = json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":text}});
        RecordedEvent { at_us: 1, event: "content_block_delta".into(), data }
    }

    fn other(kind: &str) -> RecordedEvent {
        RecordedEvent { at_us: 1, event: kind.into(), data: json!({"type": kind}) }
    }

    fn texts(events: &mut [RecordedEvent]) -> Vec<String> {
        events.iter_mut().filter_map(|event| super::delta(&mut event.data, "/delta/text").cloned()).collect()
    }

    #[test]
    fn ordinary_events_are_let_out_at_once() {
        let mut stream = StreamRedactor::new(Redactor::default());
        for event in [other("message_start"), delta("Some files. "), delta("And more"), other("ping"), other("message_stop")] {
            assert_eq!(stream.push(event.clone()), [event]);
        }
    }

    #[test]
    fn a_secret_over_three_deltas_is_held_back_and_cut_out() {
        let mut stream = StreamRedactor::new(Redactor::default());
        assert_eq!(stream.push(delta("key sk-")), []);
        assert_eq!(stream.push(other("ping")), []);
        assert_eq!(stream.push(delta("ant-api03-abc")), []);
        let mut out = stream.push(delta("def done"));
        assert_eq!(texts(&mut out), ["key [redacted]", "", " done"]);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn another_event_ends_the_waiting() {
        let mut stream = StreamRedactor::new(Redactor::default());
        assert_eq!(stream.push(delta("a task, s")), []);
        assert_eq!(stream.push(other("content_block_stop")), [delta("a task, s"), other("content_block_stop")]);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_no_part_of_a_credential_gets_out(
            before in "[a-z ]{0,12}", after in "( [a-z ]{0,12})?", cuts in prop::collection::vec(0usize..60, 0..8)
        ) {
            let secret = "zq7-credential-zq8";
            let redactor = Redactor::for_request([("x-api-key", secret)], "/");
            let whole = format!("{before} {secret}{after}");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).chain([0, whole.len()]).collect();
            cuts.sort();
            let mut stream = StreamRedactor::new(redactor.clone());
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                out.extend(stream.push(delta(&whole[pair[0]..pair[1]])));
            }
            out.extend(stream.finish());
            prop_assert_eq!(out.len(), cuts.len() - 1);
            prop_assert_eq!(texts(&mut out).concat(), redactor.text(&whole));
        }
    }
}
