//! Writing the events of a Messages stream as chat chunks, and a message as a whole chat answer.

use serde_json::{Map, Value};

use super::openai_common::answer_id;
use super::{logprobs, usage};
use crate::wire::openai::{
    AssistantMessage, CallDelta, CallKind, ChatChunk, ChatCompletion, ChatContent, ChatMessage, ChatToolCall, Choice,
    ChunkChoice, Delta, FunctionCall, FunctionDelta, StreamOptions,
};
use crate::wire::{BlockDelta, ContentBlock, Message, StopReason, StreamEvent, Usage};

/// Writes the chunks of one answer.
#[derive(Debug)]
pub struct ChunkWriter {
    /// Seconds since 1970.
    created: i64,
    /// Whether the client asked for a last chunk with the usage.
    include_usage: bool,
    id: String,
    model: String,
    usage: Usage,
    /// The number of calls started.
    calls: usize,
    /// Whether the open block is a call without arguments so far.
    call_is_empty: bool,
    /// Whether the first chunk is written.
    begun: bool,
}

impl ChunkWriter {
    /// A writer for an answer created at this time, in seconds since 1970.
    pub fn new(created: i64, options: &StreamOptions) -> Self {
        Self {
            created,
            include_usage: options.include_usage,
            id: String::new(),
            model: String::new(),
            usage: Usage::default(),
            calls: 0,
            call_is_empty: false,
            begun: false,
        }
    }

    /// The chunks for one event. An error has none: it is not part of the answer.
    pub fn push(&mut self, event: &StreamEvent) -> Vec<ChatChunk> {
        let first = match event {
            StreamEvent::ContentBlockStart { content_block, .. } if !self.begun => {
                Some(self.first(matches!(content_block, ContentBlock::Text { .. })))
            }
            StreamEvent::MessageDelta { .. } if !self.begun => Some(self.first(true)),
            _ => None,
        };
        first.into_iter().chain(self.chunks(event)).collect()
    }

    /// The chunk that all others follow. It waits for the first content, because it says whether there is text.
    fn first(&mut self, has_text: bool) -> ChatChunk {
        self.begun = true;
        let role = Some("assistant".into());
        self.delta(match has_text {
            true => Delta { role, content: Some(String::new()), ..Delta::default() },
            false => Delta { role, extra: Map::from_iter([("content".into(), Value::Null)]), ..Delta::default() },
        })
    }

    fn chunks(&mut self, event: &StreamEvent) -> Vec<ChatChunk> {
        match event {
            StreamEvent::MessageStart { message } => {
                self.id = answer_id("chatcmpl-", &message.id);
                self.model.clone_from(&message.model);
                self.usage = message.usage.clone();
                Vec::new()
            }
            StreamEvent::ContentBlockStart { content_block, .. } => self.block(content_block).into_iter().collect(),
            StreamEvent::ContentBlockDelta { delta, .. } => self.piece(delta).into_iter().collect(),
            // Clients parse the arguments, so a call without any gets an empty object.
            StreamEvent::ContentBlockStop { .. } if std::mem::take(&mut self.call_is_empty) => vec![self.arguments("{}")],
            StreamEvent::MessageDelta { delta, usage, .. } => {
                self.usage.merge(usage);
                let finish_reason = Some(finish_reason(delta.stop_reason.as_ref()).to_owned());
                vec![self.chunk(vec![ChunkChoice { finish_reason, ..ChunkChoice::default() }])]
            }
            StreamEvent::MessageStop if self.include_usage => {
                vec![ChatChunk { usage: Some(usage::to_chat(&self.usage)), ..self.chunk(Vec::new()) }]
            }
            _ => Vec::new(),
        }
    }

    fn block(&mut self, block: &ContentBlock) -> Option<ChatChunk> {
        let ContentBlock::ToolUse { id, name, .. } = block else { return None };
        self.calls += 1;
        self.call_is_empty = true;
        let function = FunctionDelta { name: Some(name.clone()), arguments: Some(String::new()) };
        Some(self.call(CallDelta { index: None, id: Some(id.clone()), kind: Some(CallKind::Function), function }))
    }

    fn piece(&mut self, delta: &BlockDelta) -> Option<ChatChunk> {
        match delta {
            BlockDelta::TextDelta { text, logprobs } => {
                let delta = Delta { content: Some(text.clone()), ..Delta::default() };
                let logprobs = logprobs::of_choice(logprobs.clone());
                Some(self.chunk(vec![ChunkChoice { delta, logprobs, ..ChunkChoice::default() }]))
            }
            BlockDelta::ThinkingDelta { thinking } => {
                Some(self.delta(Delta { reasoning_content: Some(thinking.clone()), ..Delta::default() }))
            }
            BlockDelta::InputJsonDelta { partial_json } if partial_json.is_empty() => None,
            BlockDelta::InputJsonDelta { partial_json } => {
                self.call_is_empty = false;
                Some(self.arguments(partial_json))
            }
            BlockDelta::SignatureDelta { .. } | BlockDelta::Other(_) => None,
        }
    }

    fn arguments(&self, piece: &str) -> ChatChunk {
        let function = FunctionDelta { name: None, arguments: Some(piece.to_owned()) };
        self.call(CallDelta { function, ..CallDelta::default() })
    }

    /// A piece of the latest call.
    fn call(&self, piece: CallDelta) -> ChatChunk {
        let piece = CallDelta { index: Some(self.calls.saturating_sub(1)), ..piece };
        self.delta(Delta { tool_calls: vec![piece], ..Delta::default() })
    }

    fn delta(&self, delta: Delta) -> ChatChunk {
        self.chunk(vec![ChunkChoice { delta, ..ChunkChoice::default() }])
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".into(),
            created: self.created,
            model: self.model.clone(),
            choices,
            ..ChatChunk::default()
        }
    }
}

/// A message as a whole chat answer created at this time, in seconds since 1970.
pub fn completion(message: Message, created: i64) -> ChatCompletion {
    let finish_reason = finish_reason(message.stop_reason.as_ref()).to_owned();
    let (mut texts, mut tokens, mut reasoning, mut tool_calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for block in message.content {
        match block {
            ContentBlock::Text { text, logprobs, .. } => {
                texts.push(text);
                tokens.extend(logprobs);
            }
            ContentBlock::Thinking { thinking, .. } => reasoning.push(thinking),
            ContentBlock::ToolUse { id, name, input, .. } => {
                let arguments = match input {
                    // The call was cut: its arguments stay open, as they do in chunks.
                    Value::String(open) => open,
                    input => input.to_string(),
                };
                let function = FunctionCall { name, arguments };
                tool_calls.push(ChatToolCall { id, kind: CallKind::Function, function, extra: Map::new() });
            }
            // Chat clients could show nothing else.
            _ => {}
        }
    }
    let content = (!texts.is_empty()).then(|| ChatContent::Text(texts.concat()));
    let reasoning_content = (!reasoning.is_empty()).then(|| reasoning.concat());
    let answer = AssistantMessage { content, reasoning_content, tool_calls, ..AssistantMessage::default() };
    ChatCompletion {
        id: answer_id("chatcmpl-", &message.id),
        object: "chat.completion".into(),
        created,
        model: message.model,
        choices: vec![Choice {
            index: 0,
            message: ChatMessage::Assistant(answer),
            logprobs: logprobs::of_choice(tokens),
            finish_reason: Some(finish_reason),
            extra: Map::new(),
        }],
        usage: Some(usage::to_chat(&message.usage)),
        extra: Map::new(),
    }
}

fn finish_reason(reason: Option<&StopReason>) -> &'static str {
    match reason {
        Some(StopReason::ToolUse) => "tool_calls",
        Some(reason) if reason.cuts() => "length",
        Some(reason) if reason.is_refusal() => "content_filter",
        _ => "stop",
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChunkReader;
    use super::super::tests::request;
    use super::*;
    use crate::wire::Assembler;
    use serde_json::json;

    /// The events of a Messages server's answer.
    fn events() -> Vec<StreamEvent> {
        let events = [
            json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "model": "m", "content": [],
                   "usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 1}}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Reading."}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "Read", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"path\""}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":\"a\"}"}}),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "Now", "input": {}}}),
            json!({"type": "content_block_stop", "index": 3}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 7}}),
            json!({"type": "message_stop"}),
        ];
        events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect()
    }

    fn with_usage() -> ChunkWriter {
        ChunkWriter::new(5, &StreamOptions { include_usage: true, ..StreamOptions::default() })
    }

    fn assembled(events: impl IntoIterator<Item = StreamEvent>) -> Message {
        let mut assembler = Assembler::default();
        for event in events {
            assembler.push(&event).unwrap();
        }
        assembler.finish().unwrap()
    }

    #[test]
    fn events_become_chunks() {
        let mut writer = with_usage();
        let chunks: Vec<Value> =
            events().iter().flat_map(|event| writer.push(event)).map(|chunk| serde_json::to_value(chunk).unwrap()).collect();
        let call =
            |index: usize, arguments: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]});
        let start = |index: usize, id: &str, name: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]});
        let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
        let expected = [
            json!({"role": "assistant", "content": null}),
            json!({"reasoning_content": "Hm."}),
            json!({"content": "Reading."}),
            start(0, "t1", "Read"),
            call(0, "{\"path\""),
            call(0, ":\"a\"}"),
            start(1, "t2", "Now"),
            call(1, "{}"),
            json!({}),
            Value::Null,
        ];
        assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
        assert_eq!(chunks[8]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((&chunks[9]["choices"], &chunks[9]["usage"]["prompt_tokens"]), (&json!([]), &json!(40)));
        assert_eq!(chunks[9]["usage"]["prompt_tokens_details"]["cached_tokens"], 30);
        assert!(chunks.iter().all(|chunk| chunk["id"] == "chatcmpl-1" && chunk["created"] == 5 && chunk["model"] == "m"));
    }

    #[test]
    fn the_first_chunk_says_whether_text_follows() {
        let first = |block: Value| {
            let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
            let mut writer = with_usage();
            assert!(writer.push(&events()[0]).is_empty());
            let chunk = writer.push(&serde_json::from_value(start).unwrap()).remove(0);
            serde_json::to_value(chunk).unwrap()["choices"][0]["delta"].take()
        };
        assert_eq!(first(json!({"type": "text", "text": ""})), json!({"role": "assistant", "content": ""}));
        let call = json!({"type": "tool_use", "id": "t", "name": "Read", "input": {}});
        assert_eq!(first(call), json!({"role": "assistant", "content": null}));
        let (mut empty, end) = (with_usage(), &events()[15]);
        assert_eq!(empty.push(end)[0].choices[0].delta.role.as_deref(), Some("assistant"));
    }

    #[test]
    fn a_stream_that_went_the_other_way_comes_back() {
        let mut writer = with_usage();
        let mut reader = ChunkReader::new(&request(json!([])));
        let mut back: Vec<_> =
            events().iter().flat_map(|event| writer.push(event)).flat_map(|chunk| reader.push(chunk)).collect();
        back.extend(reader.done());
        let (back, mut original) = (assembled(back), assembled(events()));
        // The chat protocol has no place for it.
        if let ContentBlock::Thinking { signature, .. } = &mut original.content[0] {
            signature.clear();
        }
        assert_eq!((back.content, back.stop_reason), (original.content, original.stop_reason));
        assert_eq!(back.usage, original.usage);
    }

    #[test]
    fn a_message_becomes_a_whole_answer() {
        let answer = serde_json::to_value(completion(assembled(events()), 5)).unwrap();
        assert_eq!(
            answer["choices"],
            json!([{"index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "Reading.", "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "Read", "arguments": "{\"path\":\"a\"}"}},
                    {"id": "t2", "type": "function", "function": {"name": "Now", "arguments": "{}"}}]}}])
        );
        assert_eq!((&answer["object"], &answer["usage"]["total_tokens"]), (&json!("chat.completion"), &json!(47)));
    }
}
