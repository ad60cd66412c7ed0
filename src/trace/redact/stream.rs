//! Redacting a stream of events, in which a secret may be spread over several deltas.
//!
//! Events are held back while their text ends with what may be the start of a secret, so that no part of one is let out.

use std::collections::VecDeque;

use serde_json::Value;

use super::names::REDACTED;
use super::redactor::Redactor;
use crate::trace::RecordedEvent;

/// Redacts events and keeps their order.
#[derive(Debug)]
pub struct StreamRedactor {
    redactor: Redactor,
    /// Deltas of one block whose joined text ends with a possible start of a secret, and the pings between them.
    held: VecDeque<RecordedEvent>,
}

impl StreamRedactor {
    /// Events will be redacted with this redactor.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, held: VecDeque::new() }
    }

    /// Adds an event. Returns the events that can be let out now.
    pub fn push(&mut self, mut event: RecordedEvent) -> Vec<RecordedEvent> {
        if delta_text(&mut event.data).is_some() || (event.event == "ping" && !self.held.is_empty()) {
            self.held.push_back(event);
            let text: String = self.held.iter_mut().filter_map(|held| delta_text(&mut held.data)).map(|text| &**text).collect();
            return if self.redactor.is_open(&text) { Vec::new() } else { self.finish() };
        }
        let mut out = self.finish();
        self.redactor.json(&mut event.data);
        out.push(event);
        out
    }

    /// Lets out what is held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<RecordedEvent> {
        let mut held: Vec<RecordedEvent> = self.held.drain(..).collect();
        let text: String = held.iter_mut().filter_map(|event| delta_text(&mut event.data)).map(|text| &**text).collect();
        let mut start = 0;
        let spans = self.redactor.spans(&text);
        for piece in held.iter_mut().filter_map(|event| delta_text(&mut event.data)) {
            let end = start + piece.len();
            let mut clean = String::new();
            let mut at = start;
            for span in spans.iter().filter(|span| span.start < end && span.end > start) {
                clean.push_str(&text[at..span.start.max(at)]);
                // The replacement goes to where the secret starts. The deltas in which it continues only lose their part.
                if span.start >= start {
                    clean.push_str(REDACTED);
                }
                at = span.end.min(end);
            }
            clean.push_str(&text[at..end]);
            *piece = clean;
            start = end;
        }
        held
    }
}

/// The text that a delta adds.
fn delta_text(data: &mut Value) -> Option<&mut String> {
    let delta = data.get_mut("delta")?.as_object_mut()?;
    let field = ["text", "partial_json", "thinking"].into_iter().find(|field| delta.contains_key(*field))?;
    match delta.get_mut(field) {
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
        events.iter_mut().filter_map(|event| delta_text(&mut event.data).cloned()).collect()
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
