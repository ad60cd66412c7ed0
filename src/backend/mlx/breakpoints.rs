//! Cache breakpoints, which clients set with `cache_control`, and the token counts they lead to.
//!
//! Breakpoints decide which tokens are reported as written to the cache. They do not decide what is cached: every prompt is.

use serde_json::{Map, Value, json};

use crate::wire::{Content, ContentBlock, MessagesRequest, System, Usage};

/// The last breakpoint of each of the two lifetimes. `T` is its position: in the request, or in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheBreakpoints<T> {
    /// With `ttl: "5m"`, or without a `ttl`.
    pub five_minutes: Option<T>,
    /// With `ttl: "1h"`.
    pub hour: Option<T>,
}

/// The position of a breakpoint in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakpointPosition {
    /// In the tools or the system prompt. Chat templates interleave the two, so it counts as after both.
    SharedPrefix,
    /// After this content block of this message.
    AfterBlock {
        /// Index of the message.
        message: usize,
        /// Index of the block in the message.
        block: usize,
    },
    /// At the end of the prompt.
    End,
}

impl CacheBreakpoints<BreakpointPosition> {
    /// The breakpoints of a request.
    pub(crate) fn of(request: &MessagesRequest) -> Self {
        let mut breakpoints = Self { five_minutes: None, hour: None };
        request.tools.iter().for_each(|tool| breakpoints.note(&tool.extra, BreakpointPosition::SharedPrefix));
        if let Some(System::Blocks(blocks)) = &request.system {
            blocks
                .iter()
                .filter_map(ContentBlock::extra)
                .for_each(|extra| breakpoints.note(extra, BreakpointPosition::SharedPrefix));
        }
        for (message, input) in request.messages.iter().enumerate() {
            let Content::Blocks(blocks) = &input.content else { continue };
            for (block, content) in blocks.iter().enumerate() {
                let last = message + 1 == request.messages.len() && block + 1 == blocks.len();
                let position = if last { BreakpointPosition::End } else { BreakpointPosition::AfterBlock { message, block } };
                content.extra().into_iter().for_each(|extra| breakpoints.note(extra, position));
            }
        }
        // On the request itself it means the last block.
        breakpoints.note(&request.extra, BreakpointPosition::End);
        breakpoints
    }

    fn note(&mut self, extra: &Map<String, Value>, position: BreakpointPosition) {
        match extra.get("cache_control") {
            None | Some(Value::Null) => {}
            Some(control) if control["ttl"] == "1h" => self.hour = Some(position),
            Some(_) => self.five_minutes = Some(position),
        }
    }
}

impl<T> CacheBreakpoints<T> {
    /// Converts the positions.
    ///
    /// # Errors
    /// The first error of `with`.
    pub(crate) fn try_map<U, E>(self, mut with: impl FnMut(T) -> Result<U, E>) -> Result<CacheBreakpoints<U>, E> {
        Ok(CacheBreakpoints {
            five_minutes: self.five_minutes.map(&mut with).transpose()?,
            hour: self.hour.map(&mut with).transpose()?,
        })
    }
}

impl CacheBreakpoints<usize> {
    /// The prompt's token counts as the Messages API reports them: tokens read from the cache, tokens written to it up to the
    /// last breakpoint, and the rest. Positions are numbers of tokens.
    pub(crate) fn usage(self, prompt_tokens: usize, cached_tokens: usize) -> Usage {
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

/// The request cut off after a content block.
pub(crate) fn cut_after(request: &MessagesRequest, message: usize, block: usize) -> MessagesRequest {
    let mut cut = request.clone();
    cut.messages.truncate(message + 1);
    if let Some(Content::Blocks(blocks)) = cut.messages.last_mut().map(|last| &mut last.content) {
        blocks.truncate(block + 1);
    }
    cut
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
    fn the_last_breakpoint_of_each_lifetime_counts() {
        let control = json!({"type": "ephemeral"});
        let text = |control: &Value| json!({"type": "text", "text": "x", "cache_control": control});
        let user = |blocks: Value| json!({"role": "user", "content": blocks});
        let (none, hour) = (Value::Null, json!({"type": "ephemeral", "ttl": "1h"}));
        let cases = [
            (json!({}), None, None),
            (json!({"system": "x", "messages": [user(json!("x"))]}), None, None),
            (json!({"system": [text(&none)]}), None, None),
            (json!({"cache_control": control}), Some(BreakpointPosition::End), None),
            (json!({"system": [text(&control)]}), Some(BreakpointPosition::SharedPrefix), None),
            (
                json!({"tools": [{"name": "T", "input_schema": {}, "cache_control": hour}]}),
                None,
                Some(BreakpointPosition::SharedPrefix),
            ),
            (json!({"messages": [user(json!([text(&control)]))]}), Some(BreakpointPosition::End), None),
            (
                json!({"system": [text(&hour)], "messages": [user(json!([text(&control), text(&none)])), user(json!("x"))]}),
                Some(BreakpointPosition::AfterBlock { message: 0, block: 0 }),
                Some(BreakpointPosition::SharedPrefix),
            ),
        ];
        for (fields, five_minutes, hour) in cases {
            assert_eq!(CacheBreakpoints::of(&request(fields.clone())), CacheBreakpoints { five_minutes, hour }, "{fields}");
        }
    }

    #[test]
    fn uncached_tokens_count_as_created_up_to_the_breakpoint() {
        // Of 100 tokens: breakpoints (5m, 1h), cached tokens, then the expected input, 5m and 1h counts.
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
            let usage = CacheBreakpoints { five_minutes, hour }.usage(100, cached);
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
        fn the_three_counts_add_up(
            prompt in 1usize..1000,
            cached in 0usize..1000,
            five_minutes in prop::option::of(0usize..2000),
            hour in prop::option::of(0usize..2000),
        ) {
            let cached = cached.min(prompt - 1);
            let usage = CacheBreakpoints { five_minutes, hour }.usage(prompt, cached);
            prop_assert_eq!(usage.prompt_tokens(), prompt as u64);
            prop_assert_eq!(usage.cache_read_input_tokens, Some(cached as u64));
        }
    }
}
