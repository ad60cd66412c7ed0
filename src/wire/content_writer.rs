//! Writing an answer's content as a stream of events: the inverse of [`Assembler`](super::Assembler).

use serde_json::{Map, Value};

use super::{BlockDelta, ContentBlock, StreamEvent, TokenLogprob};

/// Opens and closes content blocks around the pieces of an answer, so that every delta belongs to the block that is open.
///
/// Pieces must arrive in the order in which the client is to see them.
#[derive(Debug, Default)]
pub struct ContentWriter {
    /// The index of the open block or, between blocks, of the next one.
    index: usize,
    has_tool_use: bool,
    open: Option<OpenBlock>,
    /// White space for which no text block was opened yet. The API refuses blank text blocks when a client sends them back,
    /// so a text block opens only once other characters follow.
    blank: String,
    /// The log-probabilities of the tokens in `blank`.
    blank_logprobs: Vec<TokenLogprob>,
    /// What thinking blocks are signed with.
    signature: Option<&'static str>,
    events: Vec<StreamEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenBlock {
    Text,
    Thinking,
    ToolUse,
}

impl ContentWriter {
    /// A writer that signs every thinking block with this text. [`ContentWriter::default`] leaves them unsigned.
    pub fn signing(signature: &'static str) -> Self {
        Self { signature: Some(signature), ..Self::default() }
    }

    /// Adds text.
    pub fn text(&mut self, piece: &str) {
        self.text_with_logprobs(piece, Vec::new());
    }

    /// Adds text, with the log-probabilities of its tokens.
    pub fn text_with_logprobs(&mut self, piece: &str, mut logprobs: Vec<TokenLogprob>) {
        if self.open == Some(OpenBlock::Text) {
            if !piece.is_empty() {
                self.delta(BlockDelta::TextDelta { text: piece.to_owned(), logprobs });
            }
            return;
        }
        self.blank.push_str(piece);
        self.blank_logprobs.append(&mut logprobs);
        if !self.blank.trim().is_empty() {
            let (text, logprobs) = (std::mem::take(&mut self.blank), std::mem::take(&mut self.blank_logprobs));
            self.start(OpenBlock::Text, ContentBlock::text(""));
            self.delta(BlockDelta::TextDelta { text, logprobs });
        }
    }

    /// Adds thinking.
    pub fn thinking(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        if self.open != Some(OpenBlock::Thinking) {
            self.start(OpenBlock::Thinking, ContentBlock::Thinking { thinking: String::new(), signature: String::new() });
        }
        self.delta(BlockDelta::ThinkingDelta { thinking: piece.to_owned() });
    }

    /// Opens a tool call.
    pub fn start_tool_use(&mut self, id: String, name: String) {
        self.has_tool_use = true;
        self.start(OpenBlock::ToolUse, ContentBlock::ToolUse { id, name, input: Value::Object(Map::new()), extra: Map::new() });
    }

    /// Adds JSON text to the arguments of the open tool call. Ignored if none is open.
    pub fn tool_input(&mut self, piece: &str) {
        if self.open == Some(OpenBlock::ToolUse) && !piece.is_empty() {
            self.delta(BlockDelta::InputJsonDelta { partial_json: piece.to_owned() });
        }
    }

    /// Closes the tool call that is open, if one is.
    pub fn end_tool_use(&mut self) {
        if self.open == Some(OpenBlock::ToolUse) {
            self.close();
        }
    }

    /// Closes the open block, whatever its kind. Blank text that waited for other characters is dropped.
    pub fn close(&mut self) {
        self.blank.clear();
        self.blank_logprobs.clear();
        let Some(open) = self.open.take() else { return };
        if let (OpenBlock::Thinking, Some(signature)) = (open, self.signature) {
            self.delta(BlockDelta::SignatureDelta { signature: signature.into() });
        }
        self.events.push(StreamEvent::ContentBlockStop { index: self.index });
        self.index += 1;
    }

    /// Whether a tool call was opened.
    pub fn has_tool_use(&self) -> bool {
        self.has_tool_use
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<StreamEvent> {
        std::mem::take(&mut self.events)
    }

    fn start(&mut self, kind: OpenBlock, content_block: ContentBlock) {
        self.close();
        self.open = Some(kind);
        self.events.push(StreamEvent::ContentBlockStart { index: self.index, content_block });
    }

    fn delta(&mut self, delta: BlockDelta) {
        self.events.push(StreamEvent::ContentBlockDelta { index: self.index, delta });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{AssembleError, Assembler, Message, Usage};

    #[derive(Clone, Debug)]
    enum Input {
        Text(&'static str),
        Thinking(&'static str),
        Start(&'static str),
        Json(&'static str),
        End,
    }
    use Input::{End, Json, Start, Text, Thinking};

    fn events(pieces: impl IntoIterator<Item = Input>) -> Vec<StreamEvent> {
        let mut writer = ContentWriter::signing("anyclaude");
        for piece in pieces {
            match piece {
                Text(text) => writer.text(text),
                Thinking(text) => writer.thinking(text),
                Start(name) => writer.start_tool_use("toolu_1".into(), name.into()),
                Json(json) => writer.tool_input(json),
                End => writer.end_tool_use(),
            }
        }
        writer.close();
        writer.take_events()
    }

    /// One line per event.
    fn lines(pieces: impl IntoIterator<Item = Input>) -> Vec<String> {
        let line = |event| match event {
            StreamEvent::ContentBlockStart { index, content_block } => match content_block {
                ContentBlock::ToolUse { name, .. } => format!("{index} tool {name}"),
                ContentBlock::Thinking { .. } => format!("{index} thinking"),
                _ => format!("{index} text"),
            },
            StreamEvent::ContentBlockDelta { index, delta } => match delta {
                BlockDelta::ThinkingDelta { thinking } => format!("{index} ~ {thinking}"),
                BlockDelta::SignatureDelta { signature } => format!("{index} signed {signature}"),
                BlockDelta::TextDelta { text, .. } => format!("{index} + {text:?}"),
                BlockDelta::InputJsonDelta { partial_json } => format!("{index} + {partial_json}"),
                BlockDelta::Other(other) => panic!("unexpected {other}"),
            },
            StreamEvent::ContentBlockStop { index } => format!("{index} end"),
            other => panic!("unexpected {other:?}"),
        };
        events(pieces).into_iter().map(line).collect()
    }

    #[test]
    fn text_and_calls_get_blocks_of_their_own() {
        let pieces = [Text("a"), Text("b"), Start("Read"), Json("{\"p\""), Json(":1}"), End, Text("c")];
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
    fn thinking_gets_a_block_with_a_signature() {
        let pieces = [Thinking("a"), Thinking("b"), Text("\n"), Text("c")];
        let expected = ["0 thinking", "0 ~ a", "0 ~ b", "0 signed anyclaude", "0 end", "1 text", "1 + \"\\nc\"", "1 end"];
        assert_eq!(lines(pieces), expected);
        assert_eq!(lines([Thinking("a")]), ["0 thinking", "0 ~ a", "0 signed anyclaude", "0 end"]);
    }

    #[test]
    fn log_probabilities_wait_and_go_with_their_text() {
        let token =
            |text: &str| vec![TokenLogprob { token: text.into(), logprob: -1.0, bytes: text.into(), top_logprobs: Vec::new() }];
        let mut writer = ContentWriter::default();
        for text in ["\n", "a", "b"] {
            writer.text_with_logprobs(text, token(text));
        }
        writer.start_tool_use("toolu_1".into(), "Read".into());
        writer.text_with_logprobs(" ", token(" "));
        writer.close();
        let mut assembler = Assembler::default();
        assembler.push(&StreamEvent::MessageStart { message: Message::empty("m", "m", Usage::default()) }).unwrap();
        let events = writer.take_events();
        let told = |event: &StreamEvent| match event {
            StreamEvent::ContentBlockDelta { delta: BlockDelta::TextDelta { text, logprobs }, .. } => {
                Some((text.clone(), logprobs.iter().map(|token| token.token.clone()).collect::<Vec<_>>()))
            }
            _ => None,
        };
        let expected = [("\na".to_owned(), vec!["\n".to_owned(), "a".into()]), ("b".into(), vec!["b".into()])];
        assert_eq!(events.iter().filter_map(told).collect::<Vec<_>>(), expected);
        events.iter().for_each(|event| assembler.push(event).unwrap());
        let message = assembler.into_partial().unwrap();
        assert!(
            matches!(&message.content[0], ContentBlock::Text { text, logprobs, .. } if text == "\nab" && logprobs.len() == 3)
        );
        // The protocol itself does not have them.
        let written = serde_json::to_string(&(events, message)).unwrap();
        assert!(written.contains("\\nab") && !written.contains("logprob"), "{written}");
    }

    #[test]
    fn blank_text_opens_no_block() {
        assert_eq!(lines([Text(""), Text(" \n"), Thinking("")]), [""; 0]);
        assert_eq!(lines([Text("\n"), Text("x"), Text(" ")]), ["0 text", "0 + \"\\nx\"", "0 + \" \"", "0 end"]);
        assert_eq!(
            lines([Start("A"), End, Text("\n"), Start("B"), End, Text("\n"), End]),
            ["0 tool A", "0 end", "1 tool B", "1 end"]
        );
    }

    #[test]
    fn a_call_that_never_ends_is_closed() {
        assert_eq!(lines([Start("A"), Json("{")]), ["0 tool A", "0 + {", "0 end"]);
        assert_eq!(lines([Start("A"), Start("B")]), ["0 tool A", "0 end", "1 tool B", "1 end"]);
    }

    fn any_piece() -> impl Strategy<Value = Input> {
        let text = prop::sample::select(vec!["", " ", "\n", "a", "a "]).prop_map(Text);
        let rest = prop::sample::select(vec![Thinking(""), Thinking("hm"), Start("A"), Json(""), Json("{}"), End]);
        prop_oneof![text, rest]
    }

    proptest! {
        /// `Assembler` refuses deltas and stops for blocks that are not open, and indices out of order.
        #[test]
        fn whatever_the_pieces_the_events_assemble(pieces in prop::collection::vec(any_piece(), 0..20)) {
            let mut assembler = Assembler::default();
            let message = Message::empty("msg_1", "m", Usage::default());
            assembler.push(&StreamEvent::MessageStart { message }).unwrap();
            for event in events(pieces) {
                // Only the order matters here: the pieces of a call may not add up to JSON.
                match assembler.push(&event) {
                    Ok(()) | Err(AssembleError::BadInput { .. }) => {}
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
