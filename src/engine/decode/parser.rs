//! An incremental parser that finds the tool calls in an answer's text, in any format.

use std::sync::Arc;

use super::Piece;
use super::arguments::ArgumentReader;
use super::call_form::Tag;
use super::logprob_trail::Placed;
use super::syntax::{Cursor, Unread};
use super::tool_format::{Head, HeadStart, Next, ToolFormat};
use crate::wire::Tool;

/// Incremental parser: takes an answer's text as it is generated and separates tool calls from text.
///
/// Text is passed on as soon as it can no longer be the beginning of a call, with its whitespace unchanged, and arguments as
/// they arrive. Markup that turns out not to be a call is passed on as text.
pub(super) struct Parser {
    format: Arc<dyn ToolFormat>,
    tools: Arc<[Tool]>,
    state: ParserState,
    /// Received text that could still become part of a call.
    held: String,
    /// Length of all received text, in bytes.
    received: usize,
    /// Whether no text, not even whitespace, was returned since the answer began or the last call ended. Some
    /// tags count only there.
    fresh: bool,
    /// Index of the tag that opened the current or latest call.
    tag: usize,
}

/// How far the current call has been read. `opened` and `opening` keep the call's markup so far, to return it as
/// plain text should it turn out not to be a call.
#[derive(Default)]
enum ParserState {
    #[default]
    Text,
    /// After the opening tag; the name is still incomplete. `opened` is the markup so far, in case it is text after all.
    Head { opened: String, start: HeadStart },
    /// The name is known; the arguments have not begun.
    Named { opened: String, head: Head },
    /// Inside the arguments. `opening` holds the markup before them until the first argument has been read: a call that is cut
    /// earlier must not be reported, as it would look like a finished call without arguments.
    Arguments { name: String, reader: Box<dyn ArgumentReader>, list: bool, opening: Option<String> },
    /// After the arguments, up to the end of the call or the next call in the list. `closing` is the arguments' last brace, which
    /// is given at the call's end: until then the call may be cut, and must not look like a finished one.
    Tail { list: bool, closing: String },
}

impl Parser {
    /// `tools`: the request's tools. Formats that write arguments without quotes need the schemas to tell strings from JSON.
    pub(super) fn new(format: Arc<dyn ToolFormat>, tools: Arc<[Tool]>) -> Self {
        Self { format, tools, state: ParserState::Text, held: String::new(), received: 0, fresh: true, tag: 0 }
    }

    /// Adds text; returns everything that is decided now. Positions count from the beginning of the received text.
    pub(super) fn push(&mut self, text: &str) -> Vec<Placed> {
        self.held.push_str(text);
        self.received += text.len();
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// The answer has ended: text that was held back is returned, and incomplete arguments stay open. A call whose arguments are
    /// complete is ended, though it may lack markup.
    pub(super) fn finish(&mut self) -> Vec<Placed> {
        let rest = std::mem::take(&mut self.held);
        let end = self.received;
        let text = match std::mem::take(&mut self.state) {
            ParserState::Text => rest,
            ParserState::Head { opened, .. } | ParserState::Named { opened, .. } => opened + &rest,
            ParserState::Tail { closing, .. } => {
                return ended_call(closing).map(|piece| Placed { piece, end }).collect();
            }
            ParserState::Arguments { opening: Some(opening), .. } => opening + &rest,
            ParserState::Arguments { opening: None, .. } => return vec![],
        };
        some_text(text).map(|piece| Placed { piece, end }).into_iter().collect()
    }

    /// Length of all received text, in bytes.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    /// Whether the text is inside a call or between two calls under the same tag.
    pub(super) fn in_call(&self) -> bool {
        !matches!(self.state, ParserState::Text)
    }

    /// Index of the open call's tag, among those of the format.
    pub(super) fn tag(&self) -> usize {
        self.tag
    }

    /// How many bytes of this tag the text ends with, if a call could open there.
    pub(super) fn opening_so_far(&self, tag: &Tag) -> usize {
        if self.in_call() { 0 } else { tag.so_far(&self.held, self.fresh) }
    }

    /// The open call's tool name, from when it is known until the arguments are complete.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.state {
            ParserState::Named { head, .. } => Some(&head.name),
            ParserState::Arguments { name, .. } => Some(name),
            _ => None,
        }
    }

    /// One step of the state machine. Returns false when it cannot go on without more text.
    fn step(&mut self, pieces: &mut Vec<Placed>) -> bool {
        match std::mem::take(&mut self.state) {
            ParserState::Text => self.find_tag(pieces),
            ParserState::Head { opened, start } => {
                let mut cursor = Cursor::new(&self.held);
                match self.format.head(&mut cursor, start) {
                    Ok(head) => {
                        let length = cursor.at();
                        let opened = opened + &self.take(length);
                        self.state = ParserState::Named { opened, head };
                        true
                    }
                    Err(Unread::More) => self.wait(ParserState::Head { opened, start }),
                    Err(Unread::No) => self.give_up(opened, pieces),
                }
            }
            ParserState::Named { opened, head } => self.start_arguments(opened, head, pieces),
            ParserState::Arguments { name, mut reader, list, mut opening } => {
                let (mut json, done) = reader.read(&mut self.held);
                let closing = if done { json.split_off(json.len() - usize::from(json.ends_with('}'))) } else { String::new() };
                if opening.is_some() && (done || !json.is_empty()) {
                    pieces.push(self.placed(Piece::ToolStart { name: name.clone() }));
                    opening = None;
                }
                if !json.is_empty() {
                    pieces.push(self.placed(Piece::ToolInput(json)));
                }
                self.state = match done {
                    true => ParserState::Tail { list, closing },
                    false => ParserState::Arguments { name, reader, list, opening },
                };
                done
            }
            ParserState::Tail { list, closing } => {
                let mut cursor = Cursor::new(&self.held);
                let next = match self.format.tail(&mut cursor, list) {
                    Err(Unread::More) => return self.wait(ParserState::Tail { list, closing }),
                    Err(Unread::No) => Next::Text,
                    Ok(next) => {
                        let length = cursor.at();
                        self.take(length);
                        next
                    }
                };
                pieces.extend(ended_call(closing).map(|piece| self.placed(piece)));
                self.fresh = true;
                if next == Next::Call {
                    self.state = ParserState::Head { opened: String::new(), start: HeadStart::AfterCall };
                }
                true
            }
        }
    }

    /// Looks for the first tag in the held text, and returns the text before it.
    fn find_tag(&mut self, pieces: &mut Vec<Placed>) -> bool {
        let format = self.format.clone();
        let tags = format.tags();
        let found = tags.iter().enumerate().filter_map(|(which, tag)| Some((tag.find(&self.held, self.fresh)?, which)));
        if let Some((range, which)) = found.min_by_key(|(range, which)| (range.start, *which)) {
            let mut opened = String::new();
            let before = self.take(range.start);
            match tags[which].only_after {
                Some(_) => opened.push_str(&before),
                None => self.give(before, pieces),
            }
            opened.push_str(&self.take(range.len()));
            self.tag = which;
            self.state = ParserState::Head { opened, start: HeadStart::AfterTag(which) };
            return true;
        }
        let undecided = tags.iter().map(|tag| tag.undecided(&self.held, self.fresh)).max().unwrap_or(0);
        let certain = self.take(self.held.len() - undecided);
        self.give(certain, pieces);
        false
    }

    /// Starts reading the arguments, in some formats by their first character.
    fn start_arguments(&mut self, opened: String, head: Head, pieces: &mut Vec<Placed>) -> bool {
        let tool = self.tools.iter().find(|tool| tool.name == head.name);
        let mut cursor = Cursor::new(&self.held);
        match (head.arguments)(&mut cursor, tool) {
            Ok(reader) => {
                let blank = cursor.at();
                self.take(blank);
                self.state = ParserState::Arguments { name: head.name, reader, list: head.list, opening: Some(opened) };
                true
            }
            Err(Unread::More) => self.wait(ParserState::Named { opened, head }),
            Err(Unread::No) => self.give_up(opened, pieces),
        }
    }

    /// Puts the state back: more text is needed.
    fn wait(&mut self, state: ParserState) -> bool {
        self.state = state;
        false
    }

    /// It was not a call after all: its markup becomes text, and parsing starts over behind it.
    fn give_up(&mut self, opened: String, pieces: &mut Vec<Placed>) -> bool {
        self.fresh = false;
        self.give(opened, pieces);
        true
    }

    fn give(&mut self, text: String, pieces: &mut Vec<Placed>) {
        self.fresh &= text.is_empty();
        pieces.extend(some_text(text).map(|piece| self.placed(piece)));
    }

    /// A piece that ends where the held text begins.
    fn placed(&self, piece: Piece) -> Placed {
        Placed { piece, end: self.received - self.held.len() }
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.held.split_off(length);
        std::mem::replace(&mut self.held, rest)
    }
}

/// The last pieces of a call.
fn ended_call(closing: String) -> impl Iterator<Item = Piece> {
    let closing = (!closing.is_empty()).then_some(Piece::ToolInput(closing));
    closing.into_iter().chain([Piece::ToolEnd])
}

fn some_text(text: String) -> Option<Piece> {
    (!text.is_empty()).then_some(Piece::Text(text))
}
