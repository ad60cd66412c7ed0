//! From pieces of an answer to content block events: which block is open, and under which index.

use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::{Map, Value};

use crate::engine::decode::Piece;
use crate::wire::{BlockDelta, ContentBlock, StreamEvent};

/// The signature of thinking blocks. Clients send it back and nobody checks it, but it must be there.
const SIGNATURE: &str = "anyclaude";

/// Opens and closes content blocks, so that every delta belongs to the one that is open.
#[derive(Default)]
pub struct Blocks {
    /// The index of the block that is open, or comes next.
    index: usize,
    open: Option<Open>,
    /// Blank text that has no block yet. The API refuses blocks of blank text when they come back in the next request,
    /// so one is only opened when other text follows.
    blank: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Thinking,
    Text,
    Tool,
}

impl Blocks {
    /// The events for one more piece.
    pub fn push(&mut self, piece: Piece) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        match piece {
            Piece::Thinking(thinking) => {
                if self.open != Some(Open::Thinking) {
                    let block = ContentBlock::Thinking { thinking: String::new(), signature: String::new() };
                    self.start(Open::Thinking, block, &mut events);
                }
                events.push(self.delta(BlockDelta::ThinkingDelta { thinking }));
            }
            Piece::Text(text) => self.text(text, &mut events),
            Piece::ToolStart { name } => {
                let block =
                    ContentBlock::ToolUse { id: random_id("toolu_"), name, input: Value::Object(Map::new()), extra: Map::new() };
                self.start(Open::Tool, block, &mut events);
            }
            Piece::ToolInput(partial_json) if self.open == Some(Open::Tool) && !partial_json.is_empty() => {
                events.push(self.delta(BlockDelta::InputJsonDelta { partial_json }));
            }
            Piece::ToolEnd if self.open == Some(Open::Tool) => self.close(&mut events),
            // Nothing to add, or no call it could belong to.
            Piece::ToolInput(_) | Piece::ToolEnd => {}
        }
        events
    }

    /// The events that close the open block, if one is.
    pub fn finish(&mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        self.close(&mut events);
        events
    }

    fn close(&mut self, events: &mut Vec<StreamEvent>) {
        let Some(open) = self.open.take() else { return };
        if open == Open::Thinking {
            events.push(self.delta(BlockDelta::SignatureDelta { signature: SIGNATURE.into() }));
        }
        events.push(StreamEvent::ContentBlockStop { index: self.index });
        self.index += 1;
    }

    fn text(&mut self, text: String, events: &mut Vec<StreamEvent>) {
        if self.open != Some(Open::Text) {
            self.blank.push_str(&text);
            if self.blank.trim().is_empty() {
                return;
            }
            let text = std::mem::take(&mut self.blank);
            self.start(Open::Text, ContentBlock::text(""), events);
            events.push(self.delta(BlockDelta::TextDelta { text }));
        } else if !text.is_empty() {
            events.push(self.delta(BlockDelta::TextDelta { text }));
        }
    }

    fn start(&mut self, open: Open, content_block: ContentBlock, events: &mut Vec<StreamEvent>) {
        self.close(events);
        self.blank.clear();
        self.open = Some(open);
        events.push(StreamEvent::ContentBlockStart { index: self.index, content_block });
    }

    fn delta(&self, delta: BlockDelta) -> StreamEvent {
        StreamEvent::ContentBlockDelta { index: self.index, delta }
    }
}

/// An id as Anthropic's look: a prefix and 24 letters and digits.
pub fn random_id(prefix: &str) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from);
    prefix.chars().chain(random).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Assembler, Message, Usage};
    use proptest::prelude::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn tool(name: &str) -> Piece {
        Piece::ToolStart { name: name.into() }
    }

    fn input(json: &str) -> Piece {
        Piece::ToolInput(json.into())
    }

    fn events(pieces: impl IntoIterator<Item = Piece>) -> Vec<StreamEvent> {
        let mut blocks = Blocks::default();
        let mut events: Vec<_> = pieces.into_iter().flat_map(|piece| blocks.push(piece)).collect();
        events.extend(blocks.finish());
        events
    }

    /// One line per event; ids are left out, they are random.
    fn lines(pieces: impl IntoIterator<Item = Piece>) -> Vec<String> {
        let line = |event| match event {
            StreamEvent::ContentBlockStart { index, content_block: ContentBlock::ToolUse { id, name, .. } } => {
                assert!(id.starts_with("toolu_") && id.len() == 30, "{id}");
                format!("{index} tool {name}")
            }
            StreamEvent::ContentBlockStart { index, content_block: ContentBlock::Thinking { .. } } => format!("{index} thinking"),
            StreamEvent::ContentBlockStart { index, .. } => format!("{index} text"),
            StreamEvent::ContentBlockDelta { index, delta: BlockDelta::ThinkingDelta { thinking } } => {
                format!("{index} ~ {thinking}")
            }
            StreamEvent::ContentBlockDelta { index, delta: BlockDelta::SignatureDelta { signature } } => {
                format!("{index} signed {signature}")
            }
            StreamEvent::ContentBlockDelta { index, delta: BlockDelta::TextDelta { text } } => format!("{index} + {text:?}"),
            StreamEvent::ContentBlockDelta { index, delta: BlockDelta::InputJsonDelta { partial_json } } => {
                format!("{index} + {partial_json}")
            }
            StreamEvent::ContentBlockStop { index } => format!("{index} end"),
            other => panic!("unexpected {other:?}"),
        };
        events(pieces).into_iter().map(line).collect()
    }

    #[test]
    fn text_and_calls_get_blocks_of_their_own() {
        let pieces = [text("a"), text("b"), tool("Read"), input("{\"p\""), input(":1}"), Piece::ToolEnd, text("c")];
        let expected = [
            "0 text",
            "0 + \"a\"",
            "0 + \"b\"",
            "0 end",
            "1 tool Read",
            "1 + {\"p\"",
            "1 + :1}",
            "1 end",
            "2 text",
            "2 + \"c\"",
            "2 end",
        ];
        assert_eq!(lines(pieces), expected);
    }

    #[test]
    fn thoughts_get_a_block_with_a_signature() {
        let pieces = [Piece::Thinking("a".into()), Piece::Thinking("b".into()), text("\n"), text("c")];
        let expected = ["0 thinking", "0 ~ a", "0 ~ b", "0 signed anyclaude", "0 end", "1 text", "1 + \"\\nc\"", "1 end"];
        assert_eq!(lines(pieces), expected);
        assert_eq!(lines([Piece::Thinking("a".into())]), ["0 thinking", "0 ~ a", "0 signed anyclaude", "0 end"]);
    }

    #[test]
    fn blank_text_makes_no_block_of_its_own() {
        assert_eq!(lines([text(""), text(" \n")]), [""; 0]);
        assert_eq!(lines([text("\n"), text("x"), text(" ")]), ["0 text", "0 + \"\\nx\"", "0 + \" \"", "0 end"]);
        assert_eq!(
            lines([tool("A"), Piece::ToolEnd, text("\n"), tool("B"), Piece::ToolEnd]),
            ["0 tool A", "0 end", "1 tool B", "1 end"]
        );
    }

    #[test]
    fn a_call_that_never_ends_is_closed() {
        assert_eq!(lines([tool("A"), input("{")]), ["0 tool A", "0 + {", "0 end"]);
        assert_eq!(lines([tool("A"), tool("B")]), ["0 tool A", "0 end", "1 tool B", "1 end"]);
    }

    fn any_piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            "[ a\n]{0,2}".prop_map(Piece::Text),
            Just(Piece::Thinking("hm".into())),
            "[A-Z]".prop_map(|name| Piece::ToolStart { name }),
            Just(Piece::ToolInput("".into())),
            Just(Piece::ToolInput("{}".into())),
            Just(Piece::ToolEnd),
        ]
    }

    proptest! {
        /// `Assembler` refuses deltas and stops of blocks that are not open, and indexes out of order.
        #[test]
        fn whatever_the_pieces_the_events_assemble(pieces in prop::collection::vec(any_piece(), 0..20)) {
            let mut assembler = Assembler::default();
            let message = Message::empty("msg_1", "m", Usage::default());
            assembler.push(&StreamEvent::MessageStart { message }).unwrap();
            for event in events(pieces) {
                // The pieces of a call may together be no JSON here; only the order is looked at.
                match assembler.push(&event) {
                    Ok(()) | Err(crate::wire::AssembleError::BadInput { .. }) => {}
                    Err(error) => prop_assert!(false, "{error}"),
                }
            }
            let message = assembler.into_partial().unwrap();
            for block in message.content {
                if let ContentBlock::Text { text, .. } = block {
                    prop_assert!(!text.trim().is_empty());
                }
            }
        }
    }
}
