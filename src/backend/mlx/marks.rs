//! What a client marked with `cache_control`, and how the prompt's tokens are counted for it. Pure.
//!
//! Marks decide what is counted as written to the cache, never what is cached: that the tokens alone decide.

use serde_json::{Map, Value, json};

use crate::wire::{Content, ContentBlock, MessagesRequest, System, Usage};

/// The last place that the client marked for each of the two lifetimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks<T> {
    /// `ttl: "5m"`, and marks that name none.
    pub five_minutes: Option<T>,
    /// `ttl: "1h"`
    pub hour: Option<T>,
}

/// A place in a request, in the order in which the Messages API counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the tools or in the system prompt. Chat templates mix the two, so a mark in either stands for both, whole.
    Shared,
    /// After this block of this message.
    Block { message: usize, block: usize },
    /// The end of the prompt.
    End,
}

impl Marks<Place> {
    /// The marks of a request.
    pub fn of(request: &MessagesRequest) -> Self {
        let mut marks = Self { five_minutes: None, hour: None };
        request.tools.iter().for_each(|tool| marks.note(&tool.extra, Place::Shared));
        if let Some(System::Blocks(blocks)) = &request.system {
            blocks.iter().filter_map(extra).for_each(|extra| marks.note(extra, Place::Shared));
        }
        for (message, input) in request.messages.iter().enumerate() {
            let Content::Blocks(blocks) = &input.content else { continue };
            for (block, content) in blocks.iter().enumerate() {
                let last = message + 1 == request.messages.len() && block + 1 == blocks.len();
                let place = if last { Place::End } else { Place::Block { message, block } };
                extra(content).into_iter().for_each(|extra| marks.note(extra, place));
            }
        }
        // A mark on the request itself stands for one on its last block.
        marks.note(&request.extra, Place::End);
        marks
    }

    fn note(&mut self, extra: &Map<String, Value>, place: Place) {
        match extra.get("cache_control") {
            None | Some(Value::Null) => {}
            Some(mark) if mark["ttl"] == "1h" => self.hour = Some(place),
            Some(_) => self.five_minutes = Some(place),
        }
    }
}

impl<T> Marks<T> {
    /// The same marks, their places turned into something else.
    pub fn try_map<U, E>(self, mut with: impl FnMut(T) -> Result<U, E>) -> Result<Marks<U>, E> {
        Ok(Marks { five_minutes: self.five_minutes.map(&mut with).transpose()?, hour: self.hour.map(&mut with).transpose()? })
    }
}

impl Marks<usize> {
    /// The prompt's tokens as the Messages API counts them, from the places in tokens: read from the cache, written to it
    /// (up to the last mark), and the rest.
    pub fn usage(self, prompt_tokens: usize, cached_tokens: usize) -> Usage {
        let hour = self.hour.unwrap_or(0).clamp(cached_tokens, prompt_tokens);
        let five_minutes = self.five_minutes.unwrap_or(0).clamp(hour, prompt_tokens);
        let created = json!({
            "ephemeral_5m_input_tokens": five_minutes - hour,
            "ephemeral_1h_input_tokens": hour - cached_tokens,
        });
        Usage {
            input_tokens: (prompt_tokens - five_minutes) as u64,
            cache_creation_input_tokens: Some((five_minutes - cached_tokens) as u64),
            cache_read_input_tokens: Some(cached_tokens as u64),
            extra: Map::from_iter([("cache_creation".to_string(), created)]),
            ..Usage::default()
        }
    }
}

/// The request up to a block, which is kept.
pub fn cut_after(request: &MessagesRequest, message: usize, block: usize) -> MessagesRequest {
    let mut cut = request.clone();
    cut.messages.truncate(message + 1);
    if let Some(Content::Blocks(blocks)) = cut.messages.last_mut().map(|last| &mut last.content) {
        blocks.truncate(block + 1);
    }
    cut
}

fn extra(block: &ContentBlock) -> Option<&Map<String, Value>> {
    match block {
        ContentBlock::Text { extra, .. }
        | ContentBlock::Image { extra, .. }
        | ContentBlock::Document { extra, .. }
        | ContentBlock::ToolReference { extra, .. }
        | ContentBlock::ToolUse { extra, .. }
        | ContentBlock::ToolResult { extra, .. } => Some(extra),
        ContentBlock::Thinking { .. } | ContentBlock::RedactedThinking { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(fields: Value) -> MessagesRequest {
        let mut body = json!({"model": "claude-x", "messages": [], "max_tokens": 1});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn the_last_mark_of_each_lifetime_counts() {
        let mark = json!({"type": "ephemeral"});
        let text = |mark: &Value| json!({"type": "text", "text": "x", "cache_control": mark});
        let user = |blocks: Value| json!({"role": "user", "content": blocks});
        let (none, hour) = (Value::Null, json!({"type": "ephemeral", "ttl": "1h"}));
        let cases = [
            (json!({}), None, None),
            (json!({"system": "x", "messages": [user(json!("x"))]}), None, None),
            (json!({"system": [text(&none)]}), None, None),
            (json!({"cache_control": mark}), Some(Place::End), None),
            (json!({"system": [text(&mark)]}), Some(Place::Shared), None),
            (json!({"tools": [{"name": "T", "input_schema": {}, "cache_control": hour}]}), None, Some(Place::Shared)),
            (json!({"messages": [user(json!([text(&mark)]))]}), Some(Place::End), None),
            (
                json!({"system": [text(&hour)], "messages": [user(json!([text(&mark), text(&none)])), user(json!("x"))]}),
                Some(Place::Block { message: 0, block: 0 }),
                Some(Place::Shared),
            ),
        ];
        for (fields, five_minutes, hour) in cases {
            assert_eq!(Marks::of(&request(fields.clone())), Marks { five_minutes, hour }, "{fields}");
        }
    }

    #[test]
    fn what_was_not_cached_counts_as_created_up_to_the_mark() {
        // 100 tokens; marks (5m, 1h), cached; then input, 5m, 1h.
        let cases = [
            ((None, None), 60, [40, 0, 0]),
            ((Some(90), None), 60, [10, 30, 0]),
            ((Some(90), None), 95, [5, 0, 0]),
            ((None, Some(90)), 0, [10, 0, 90]),
            ((Some(90), Some(70)), 60, [10, 20, 10]),
            ((Some(50), Some(70)), 60, [30, 0, 10]),
            ((Some(100), Some(70)), 80, [0, 20, 0]),
        ];
        for ((five_minutes, hour), cached, [input, five, one]) in cases {
            let usage = Marks { five_minutes, hour }.usage(100, cached);
            let created = json!({"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": one});
            assert_eq!((usage.input_tokens, &usage.extra["cache_creation"]), (input, &created));
            assert_eq!(usage.cache_creation_input_tokens, Some(five + one));
        }
    }

    #[test]
    fn a_cut_request_ends_with_the_block() {
        let blocks = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let whole = request(json!({"messages": [{"role": "user", "content": blocks}, {"role": "user", "content": "c"}]}));
        let cut = request(json!({"messages": [{"role": "user", "content": [blocks[0]]}]}));
        assert_eq!(cut_after(&whole, 0, 0), cut);
    }

    proptest! {
        #[test]
        fn the_three_parts_add_up(
            prompt in 1usize..1000,
            cached in 0usize..1000,
            five_minutes in prop::option::of(0usize..2000),
            hour in prop::option::of(0usize..2000),
        ) {
            let cached = cached.min(prompt - 1);
            let usage = Marks { five_minutes, hour }.usage(prompt, cached);
            prop_assert_eq!(usage.prompt_tokens(), prompt as u64);
            prop_assert_eq!(usage.cache_read_input_tokens, Some(cached as u64));
        }
    }
}
