//! Generated chat streams: whatever a server sends, the client gets a well-formed Messages stream.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ChunkReader;
use crate::wire::openai::ChatChunk;
use crate::wire::{BlockDelta, ContentBlock, MessagesRequest, StreamEvent};

/// A request with these messages.
pub(super) fn request(messages: Value) -> MessagesRequest {
    serde_json::from_value(json!({"model": "claude-x", "max_tokens": 1, "messages": messages})).unwrap()
}

/// A chunk with this delta.
pub(super) fn delta(delta: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

/// Asserts that each event is allowed where the stream stands.
#[derive(Debug, Default)]
struct StreamChecker {
    started: bool,
    open: Option<ContentBlock>,
    next: usize,
    has_stop_reason: bool,
    ended: bool,
    text: String,
}

impl StreamChecker {
    fn see(&mut self, event: &StreamEvent) {
        assert!(!self.ended, "{event:?} after the end");
        match event {
            StreamEvent::MessageStart { .. } => assert!(!std::mem::replace(&mut self.started, true), "started twice"),
            StreamEvent::ContentBlockStart { index, content_block } => {
                assert!(
                    self.started && !self.has_stop_reason && self.open.is_none() && *index == self.next,
                    "{event:?} in {self:?}"
                );
                self.open = Some(content_block.clone());
            }
            StreamEvent::ContentBlockDelta { index, delta } => {
                assert_eq!(*index, self.next, "{event:?} in {self:?}");
                match (self.open.as_ref(), delta) {
                    (Some(ContentBlock::Text { .. }), BlockDelta::TextDelta { text, .. }) => self.text += text,
                    (Some(ContentBlock::Thinking { .. }), BlockDelta::ThinkingDelta { .. })
                    | (Some(ContentBlock::ToolUse { .. }), BlockDelta::InputJsonDelta { .. }) => {}
                    _ => panic!("{event:?} in {self:?}"),
                }
            }
            StreamEvent::ContentBlockStop { index } => {
                assert!(self.open.take().is_some() && *index == self.next, "{event:?} in {self:?}");
                self.next += 1;
            }
            StreamEvent::MessageDelta { .. } => {
                assert!(self.started && self.open.is_none(), "{event:?} in {self:?}");
                assert!(!std::mem::replace(&mut self.has_stop_reason, true), "two stop reasons");
            }
            StreamEvent::MessageStop => {
                assert!(self.has_stop_reason, "{event:?} in {self:?}");
                self.ended = true;
            }
            StreamEvent::Error { .. } => {
                assert!(self.open.is_none(), "{event:?} in {self:?}");
                self.ended = true;
            }
            StreamEvent::Ping | StreamEvent::Other(_) => panic!("{event:?}"),
        }
    }
}

/// A short text, blank or not, or `null`.
fn words() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!("")), Just(json!(" \n")), "[a-zé{}\"\\\\]{1,6}".prop_map(Value::String)]
}

/// A piece of a call, sensible or not.
fn call_piece() -> impl Strategy<Value = Value> {
    let index = prop_oneof![3 => (0..3usize).prop_map(|index| json!(index)), 1 => Just(Value::Null)];
    let id = prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        (0..3u8).prop_map(|id| json!(format!("call_{id}"))),
        Just(json!("f.x:1"))
    ];
    let name = prop_oneof![2 => Just(Value::Null), 1 => Just(json!("")), 2 => Just(json!("Read"))];
    let arguments = prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("{}")),
        Just(json!("{\"a\":")),
        Just(json!("\"}\\\"\"}")),
        Just(json!("null")),
        Just(json!({"a": 1})),
        words()
    ];
    (index, id, name, arguments).prop_map(
        |(index, id, name, arguments)| json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}}),
    )
}

/// A chunk that some server might send.
fn chunk() -> impl Strategy<Value = Value> {
    let reason = prop_oneof![
        8 => Just(Value::Null),
        1 => prop::sample::select(vec!["stop", "tool_calls", "length", "content_filter", "odd", "error"]).prop_map(|reason| json!(reason)),
    ];
    let calls = prop::collection::vec(call_piece(), 0..3);
    let answer =
        (words(), words(), words(), calls, reason, 0..8usize).prop_map(|(text, reasoning, content, calls, reason, other)| {
            let index = usize::from(other == 0);
            let delta = json!({"content": text, "reasoning": reasoning, "reasoning_content": content, "tool_calls": calls});
            json!({"choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
        });
    prop_oneof![
        12 => answer,
        1 => Just(json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})),
        1 => Just(json!({"choices": [{"delta": {"role": "assistant"}}]})),
        1 => Just(json!({"error": {"code": 502, "message": "gone"}})),
        1 => Just(json!({"error": "gone"})),
    ]
}

/// The chunks of a server that keeps the protocol: text, then calls whose pieces are interleaved at random. With them the text
/// and the arguments of each call.
fn proper_stream() -> impl Strategy<Value = (String, Vec<Value>, Vec<Value>)> {
    let call = prop::collection::btree_map("[a-z]{1,3}", words(), 0..3).prop_map(|input| json!(input));
    (prop::collection::vec("[a-z ]{1,5}", 0..4), prop::collection::vec(call, 0..4), prop::collection::vec(any::<usize>(), 64))
        .prop_map(|(texts, inputs, order)| {
            let mut order = order.into_iter().cycle();
            let mut chunks: Vec<Value> = texts.iter().map(|text| delta(json!({"content": text}))).collect();
            let mut rest: Vec<Vec<char>> = inputs.iter().map(|input| input.to_string().chars().rev().collect()).collect();
            for index in 0..inputs.len() {
                let function = json!({"name": format!("Tool{index}"), "arguments": ""});
                chunks
                    .push(delta(json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "function": function}]})));
            }
            while rest.iter().any(|chars| !chars.is_empty()) {
                let index = order.next().unwrap() % rest.len();
                let length = (order.next().unwrap() % 5).min(rest[index].len());
                let at = rest[index].len() - length;
                let piece: String = rest[index].split_off(at).into_iter().rev().collect();
                chunks.push(delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})));
                // So that the loop ends whatever the random numbers are: one character of the first unfinished call.
                if let Some((index, chars)) = rest.iter_mut().enumerate().find(|(_, chars)| !chars.is_empty()) {
                    let piece = chars.pop().unwrap().to_string();
                    chunks.push(delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})));
                }
            }
            (texts.concat(), inputs, chunks)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_stream_keeps_the_protocol(chunks in prop::collection::vec(chunk(), 0..12), done in any::<bool>()) {
        let mut reader = ChunkReader::new(&request(json!([])));
        let mut checker = StreamChecker::default();
        for chunk in chunks {
            let chunk: ChatChunk = serde_json::from_value(chunk).unwrap();
            reader.push(chunk).iter().for_each(|event| checker.see(event));
        }
        let last = if done { reader.done() } else { reader.cut_off() };
        last.iter().for_each(|event| checker.see(event));
        prop_assert!(checker.ended && checker.open.is_none(), "{checker:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_proper_stream_loses_nothing((text, inputs, chunks) in proper_stream()) {
        let mut reader = ChunkReader::new(&request(json!([])));
        let mut checker = StreamChecker::default();
        let mut assembler = crate::wire::Assembler::default();
        let events = chunks.into_iter().flat_map(|chunk| reader.push(serde_json::from_value(chunk).unwrap())).collect::<Vec<_>>();
        for event in events.iter().chain(&reader.done()) {
            checker.see(event);
            assembler.push(event).unwrap();
        }
        let message = assembler.finish().unwrap();
        prop_assert_eq!(checker.text.as_str(), if text.trim().is_empty() { "" } else { text.as_str() });
        let calls: Vec<(String, Value)> = message.content.into_iter().filter_map(|block| match block {
            ContentBlock::ToolUse { name, input, .. } => Some((name, input)),
            _ => None,
        }).collect();
        let expected: Vec<_> = inputs.into_iter().enumerate().map(|(index, input)| (format!("Tool{index}"), input)).collect();
        prop_assert_eq!(calls, expected);
    }
}
