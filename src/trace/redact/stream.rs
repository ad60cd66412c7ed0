//! Redacting a stream of events, in which a secret may be spread over several deltas.
//!
//! A delta is held back while a secret may have started in it that is not decided yet, so that no part of one is let out. Texts
//! may alternate, as the arguments of parallel calls do: each has a scanner of its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::names::evidence_for;
use super::redactor::Redactor;
use super::scanner::Scanner;
use super::spans::without;
use crate::trace::RecordedEvent;
use crate::trace::pieces::{PieceHolder, PieceId, TextPiece, pieces_in};
use crate::wire::DONE;

/// The most that is held back: bytes of text, and one for each event. Beyond it, the text that holds up the others is taken as
/// ended. One text alone is decided earlier.
const MAX_HELD: usize = 16 * 1024;

/// Redacts events and keeps their order.
pub struct StreamRedactor {
    redactor: Redactor,
    /// The texts that may go on.
    texts: BTreeMap<PieceId, OpenText>,
    /// Events that wait for a text to be decided, or behind one that does.
    held: VecDeque<HeldEvent>,
    /// How much is held, as [`MAX_HELD`] counts it.
    held_size: usize,
}

/// A text that comes in pieces.
struct OpenText {
    scanner: Scanner,
    /// Bytes that have come.
    length: usize,
}

struct HeldEvent {
    event: RecordedEvent,
    /// The text that each of its pieces belongs to, and where in it the piece starts, in bytes.
    pieces: Vec<(PieceId, usize)>,
    size: usize,
}

impl StreamRedactor {
    /// Events will be redacted with this redactor.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, texts: BTreeMap::new(), held: VecDeque::new(), held_size: 0 }
    }

    /// Adds an event. Returns the events that can be let out now.
    pub fn push(&mut self, mut event: RecordedEvent) -> Vec<RecordedEvent> {
        let mut out = if ends_texts(&mut event) { self.finish() } else { Vec::new() };
        let (mut pieces, mut texts, mut size) = (Vec::new(), Vec::new(), 1);
        for TextPiece { id, text } in spelled(&mut event.data) {
            let open = self.texts.entry(id.clone()).or_insert_with(|| OpenText { scanner: self.redactor.scanner(), length: 0 });
            pieces.push((id, open.length));
            open.scanner.push(text);
            open.length += text.len();
            size += text.len();
            texts.push(std::mem::take(text));
        }
        self.redactor.json(&mut event.data);
        if let Cow::Owned(clean) = self.redactor.text(&event.event) {
            event.event = clean;
        }
        for (piece, text) in spelled(&mut event.data).into_iter().zip(texts) {
            *piece.text = text;
        }
        self.held_size += size;
        self.held.push_back(HeldEvent { event, pieces, size });
        self.let_out(&mut out);
        while self.held_size > MAX_HELD {
            self.decide_first();
            self.let_out(&mut out);
        }
        out
    }

    /// Lets out what is held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<RecordedEvent> {
        let mut out = Vec::new();
        self.texts.values_mut().for_each(|text| text.scanner.end());
        self.let_out(&mut out);
        self.texts.clear();
        out
    }

    /// Takes the texts that the first event waits for as ended.
    fn decide_first(&mut self) {
        for (id, _) in self.held.front().into_iter().flat_map(|held| &held.pieces) {
            if let Some(text) = self.texts.get_mut(id) {
                text.scanner.end();
            }
        }
    }

    /// Lets out the events at the front whose texts are decided.
    fn let_out(&mut self, out: &mut Vec<RecordedEvent>) {
        while let Some(mut held) = self.held.pop_front() {
            let mut texts = spelled(&mut held.event.data);
            let is_decided = texts.iter().zip(&held.pieces).all(|(piece, (id, start))| {
                self.texts.get(id).is_none_or(|text| start + piece.text.len() <= text.scanner.decided())
            });
            if !is_decided {
                self.held.push_front(held);
                return;
            }
            for (piece, (id, start)) in texts.iter_mut().zip(&held.pieces) {
                if let Some(open) = self.texts.get_mut(id) {
                    *piece.text = without(piece.text, *start, open.scanner.found(*start));
                }
            }
            self.held_size -= held.size;
            out.push(held.event);
        }
    }
}

/// The pieces of text in an event. Those in a field that is named like a secret are judged by that name instead.
fn spelled(data: &mut Value) -> Vec<TextPiece<'_>> {
    let mut pieces = pieces_in(data);
    pieces.retain(|TextPiece { id, .. }| {
        matches!(id.holder, PieceHolder::Item { .. }) || evidence_for(last_name(&id.field)).is_none()
    });
    pieces
}

/// The name at the end of a place in an event.
fn last_name(field: &str) -> &str {
    field.rsplit('/').next().unwrap_or(field)
}

/// Whether no text goes on behind this event. Pings come at any time, and chunks of chat completions may add nothing. Data that
/// is no object is a piece of a text without a protocol, also where it reads as a number.
fn ends_texts(event: &mut RecordedEvent) -> bool {
    let is_open_chunk = event.data["choices"].as_array().is_some_and(|choices| {
        let goes_on = |choice: &Value| choice["finish_reason"].is_null();
        choices.iter().all(goes_on)
    });
    let is_event = event.data.is_object() || event.data == DONE;
    is_event && event.event != "ping" && !is_open_chunk && pieces_in(&mut event.data).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::redact::names::REDACTED;
    use crate::trace::redact::user_patterns::SecretPattern;
    use proptest::prelude::*;
    use serde_json::json;

    fn delta(text: &str) -> RecordedEvent {
        let data = json!({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":text}});
        RecordedEvent { at_us: 1, event: "content_block_delta".into(), data }
    }

    fn other(kind: &str) -> RecordedEvent {
        RecordedEvent { at_us: 1, event: kind.into(), data: json!({"type": kind}) }
    }

    fn texts(events: &[RecordedEvent]) -> Vec<String> {
        events.iter().filter_map(|event| Some(event.data["delta"]["text"].as_str()?.to_owned())).collect()
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
        let out = stream.push(delta("def done"));
        assert_eq!(texts(&out), ["key [redacted]", "", " done"]);
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn another_event_ends_the_waiting() {
        let mut stream = StreamRedactor::new(Redactor::default());
        assert_eq!(stream.push(delta("a task, s")), []);
        assert_eq!(stream.push(other("content_block_stop")), [delta("a task, s"), other("content_block_stop")]);
    }

    /// What a stream of these events becomes.
    fn redacted(events: &[Value]) -> String {
        let mut stream = StreamRedactor::new(Redactor::default());
        let events = events.iter().map(|data| RecordedEvent { at_us: 1, event: "message".into(), data: data.clone() });
        let mut out: Vec<RecordedEvent> = events.flat_map(|event| stream.push(event)).collect();
        out.extend(stream.finish());
        let lines: Vec<String> = out.iter().map(|event| event.data.to_string()).collect();
        lines.join("\n")
    }

    #[test]
    fn texts_may_alternate_and_share_a_chunk() {
        let call = |call: u64, piece: &str| {
            json!({"choices": [{"index": 0, "delta": {"content": "", "tool_calls":
            [{"index": call, "function": {"arguments": piece}}]}, "finish_reason": null}]})
        };
        let events = [
            call(0, "{\"a\": \"sk-an"),
            call(1, "{\"password\": 1234"),
            json!({"choices": [{"index": 0, "delta": {"reasoning": "x-api-key: Zk3vQ9xT"}}, {"index": 1, "delta": {"content": "ghp_Zk3vQ9xT1m"}}]}),
            json!({"choices": [], "usage": {"total_tokens": 1}}),
            call(0, "t-api03-Zk3vQ9\"}"),
            call(1, "5678}"),
            json!({"choices": [{"index": 0, "delta": {"reasoning": "1mB7wR5h"}}, {"index": 1, "delta": {"content": "B7wR5hJ2nF8cY4 x"}}]}),
            json!("[DONE]"),
        ];
        insta::assert_snapshot!(redacted(&events), @r#"
        {"choices":[{"index":0,"delta":{"content":"","tool_calls":[{"index":0,"function":{"arguments":"{\"a\": \"[redacted]"}}]},"finish_reason":null}]}
        {"choices":[{"index":0,"delta":{"content":"","tool_calls":[{"index":1,"function":{"arguments":"{\"password\": \"[redacted]\""}}]},"finish_reason":null}]}
        {"choices":[{"index":0,"delta":{"reasoning":"x-api-key: [redacted]"}},{"index":1,"delta":{"content":"[redacted]"}}]}
        {"choices":[],"usage":{"total_tokens":1}}
        {"choices":[{"index":0,"delta":{"content":"","tool_calls":[{"index":0,"function":{"arguments":"\"}"}}]},"finish_reason":null}]}
        {"choices":[{"index":0,"delta":{"content":"","tool_calls":[{"index":1,"function":{"arguments":"}"}}]},"finish_reason":null}]}
        {"choices":[{"index":0,"delta":{"reasoning":""}},{"index":1,"delta":{"content":" x"}}]}
        "[DONE]"
        "#);
    }

    #[test]
    fn a_text_without_json_goes_on_over_what_reads_as_numbers() {
        let out = redacted(&["key ", "sk-a", "nt-", "api03", "-", "abcd", "12", "7", "Zk3vQ9xT", " end"].map(Value::from));
        assert!(out.contains("[redacted]") && !out.contains("12") && !out.contains("Zk3"), "{out}");
        // What an older recorder has kept as a number.
        let out = redacted(&[json!("key sk-ant-api03-abcd"), json!(5), json!("Zk3vQ9xT"), json!(" end")]);
        assert!(!out.contains("Zk3"), "{out}");
    }

    #[test]
    fn what_is_no_piece_is_redacted_in_the_same_event() {
        let note = ["sk-ant-", "api03-Zk3vQ9"].concat();
        let events = [
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi", "password": "hunter2"}, "note": note}),
            json!({"choices": [{"delta": {"content": "hi", "api_key": "hunter2"}, "note": note}]}),
        ];
        let out = redacted(&events);
        assert!(!out.contains("hunter2") && !out.contains("sk-ant") && out.matches("hi").count() == 2, "{out}");
    }

    #[test]
    fn a_text_that_nobody_ends_does_not_hold_up_the_others_for_ever() {
        let mut stream = StreamRedactor::new(Redactor::default());
        let chunk = |choice: u64, text: &str| RecordedEvent {
            at_us: 1,
            event: "message".into(),
            data: json!({"choices": [{"index": choice, "delta": {"content": text}}]}),
        };
        assert_eq!(stream.push(chunk(0, "a task, s")), []);
        let out: usize = (0..MAX_HELD).map(|_| stream.push(chunk(1, "word ")).len()).sum();
        assert!(out > MAX_HELD - MAX_HELD / 5, "{out}");
    }

    #[test]
    fn events_of_a_response_agree_with_one_another() {
        let secret = ["sk-ant-", "api03-Zk3vQ9xT"].concat();
        let whole = format!("key {secret} and \"password\": 12345678 end");
        for cut in 0..whole.len() {
            let delta = |piece: &str| json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece});
            let done = json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": whole});
            let mut stream = StreamRedactor::new(Redactor::default());
            let events = [delta(&whole[..cut]), delta(&whole[cut..]), done];
            let events = events.map(|data| RecordedEvent { at_us: 1, event: "message".into(), data });
            let out: Vec<RecordedEvent> = events.into_iter().flat_map(|event| stream.push(event)).collect();
            let [first, second, done] = &out[..] else { panic!("{out:?}") };
            let text = |event: &RecordedEvent, field: &str| event.data[field].as_str().unwrap().to_owned();
            assert_eq!(text(first, "delta") + &text(second, "delta"), text(done, "text"), "cut at {cut}");
            assert_eq!(text(done, "text"), "key [redacted] and \"password\": \"[redacted]\" end");
        }
    }

    /// The events of a text that is cut at these places, redacted.
    fn redacted_in_pieces(redactor: &Redactor, whole: &str, cuts: &[usize]) -> Vec<RecordedEvent> {
        let mut stream = StreamRedactor::new(redactor.clone());
        let mut out: Vec<_> = cuts.windows(2).flat_map(|pair| stream.push(delta(&whole[pair[0]..pair[1]]))).collect();
        out.extend(stream.finish());
        out
    }

    proptest! {
        #[test]
        fn what_a_users_pattern_matches_is_found_however_it_is_cut(
            before in "[a-zé ]{0,3000}", after in "[a-z ]{0,3000}", cuts in prop::collection::vec(0usize..6100, 0..8)
        ) {
            let pattern = SecretPattern::try_from("PROJ-[0-9]{4}|é+x".to_owned()).unwrap();
            let redactor = Redactor::new(&[pattern]);
            let whole = format!("{before} PROJ-1234 {after}");
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| whole.is_char_boundary(*cut)).chain([0, whole.len()]).collect();
            cuts.sort();
            let out = redacted_in_pieces(&redactor, &whole, &cuts);
            let text = redactor.text(&whole);
            prop_assert!(!text.contains("1234") && text.contains(REDACTED));
            prop_assert_eq!(texts(&out).concat(), text);
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_no_part_of_a_credential_gets_out(
            before in "[a-z ]{0,12}", after in "( [a-z ]{0,12})?", cuts in prop::collection::vec(0usize..60, 0..8)
        ) {
            let secret = "zq7-credential-zq8";
            let redactor = Redactor::default().for_request([("x-api-key", secret)], "/");
            let whole = format!("{before} {secret}{after}");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).chain([0, whole.len()]).collect();
            cuts.sort();
            let out = redacted_in_pieces(&redactor, &whole, &cuts);
            prop_assert_eq!(out.len(), cuts.len() - 1);
            prop_assert_eq!(texts(&out).concat(), redactor.text(&whole));
        }
    }
}
