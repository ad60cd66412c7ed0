//! An incremental parser that finds the tool calls in an answer's text, in any format.

use std::sync::Arc;

use super::Piece;
use super::arguments::{ArgumentReader, ObjectReader, QuotedReader};
use super::form::Tag;
use super::formats::{Arguments, Head, Next, Parameters, Place, ToolFormat};
use super::syntax::{Cursor, Unread, trim_start};
use crate::wire::Tool;

/// Splits an answer's text into plain text and tool calls, as the text arrives.
///
/// Plain text, whitespace included, is returned as soon as it cannot be the start of a call; arguments as soon as
/// they arrive. Text that starts like a call but does not become one is returned as plain text.
pub(super) struct Parser {
    format: Arc<dyn ToolFormat>,
    tools: Arc<[Tool]>,
    state: ParserState,
    /// Text received but not yet known to be plain text or part of a call.
    held: String,
    /// Whether no text was returned since the answer's start or the last call. Some tags count only there.
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
    /// After a tag or an earlier call; the name is not known yet.
    Head { opened: String, place: Place },
    /// The name is known, the arguments have not started.
    Named { opened: String, head: Head },
    /// Inside the arguments. `opening` is `Some` until the first argument text arrives; only then is the call
    /// announced, because a call cut short before would look like a finished one without arguments.
    Arguments { name: String, reader: Box<dyn ArgumentReader>, list: bool, opening: Option<String> },
    /// After the arguments, before the call's closing markup.
    Tail { list: bool },
}

impl Parser {
    /// `tools`: the tools that may be called. Some formats write an argument according to its type in the tool's
    /// schema.
    pub(super) fn new(format: Arc<dyn ToolFormat>, tools: Arc<[Tool]>) -> Self {
        Self { format, tools, state: ParserState::Text, held: String::new(), fresh: true, tag: 0 }
    }

    /// Takes more of the answer's text and returns what has become certain.
    pub(super) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(&mut pieces) {}
        pieces
    }

    /// Ends the answer. Held text is returned as plain text, unless it belongs to arguments: an incomplete call
    /// stays open.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        let rest = std::mem::take(&mut self.held);
        let text = match std::mem::take(&mut self.state) {
            ParserState::Text => rest,
            ParserState::Head { opened, .. } | ParserState::Named { opened, .. } => opened + &rest,
            ParserState::Tail { .. } => return vec![Piece::ToolEnd],
            ParserState::Arguments { opening: Some(opening), .. } => opening + &rest,
            ParserState::Arguments { opening: None, .. } => return vec![],
        };
        some_text(text).into_iter().collect()
    }

    /// Whether the text is inside a call or between two calls under the same tag.
    pub(super) fn in_call(&self) -> bool {
        !matches!(self.state, ParserState::Text)
    }

    /// Index of the open call's tag, among those of the format.
    pub(super) fn tag(&self) -> usize {
        self.tag
    }

    /// How many bytes of this tag's words the text ends with; 0 inside a call.
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

    /// Makes one step through the held text; false if it needs more text.
    fn step(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match std::mem::take(&mut self.state) {
            ParserState::Text => self.find_tag(pieces),
            ParserState::Head { opened, place } => {
                let mut cursor = Cursor::new(&self.held);
                match self.format.head(&mut cursor, place) {
                    Ok(head) => {
                        let length = cursor.at();
                        let opened = opened + &self.take(length);
                        self.state = ParserState::Named { opened, head };
                        true
                    }
                    Err(Unread::More) => self.wait(ParserState::Head { opened, place }),
                    Err(Unread::No) => self.give_up(opened, pieces),
                }
            }
            ParserState::Named { opened, head } => self.start_arguments(opened, head, pieces),
            ParserState::Arguments { name, mut reader, list, mut opening } => {
                let (json, done) = reader.read(&mut self.held);
                if opening.is_some() && (done || !json.is_empty()) {
                    pieces.push(Piece::ToolStart { name: name.clone() });
                    opening = None;
                }
                if !json.is_empty() {
                    pieces.push(Piece::ToolInput(json));
                }
                self.state =
                    if done { ParserState::Tail { list } } else { ParserState::Arguments { name, reader, list, opening } };
                done
            }
            ParserState::Tail { list } => {
                let mut cursor = Cursor::new(&self.held);
                let next = match self.format.tail(&mut cursor, list) {
                    Err(Unread::More) => return self.wait(ParserState::Tail { list }),
                    Err(Unread::No) => Next::Text,
                    Ok(next) => {
                        let length = cursor.at();
                        self.take(length);
                        next
                    }
                };
                pieces.push(Piece::ToolEnd);
                self.fresh = true;
                if next == Next::Call {
                    self.state = ParserState::Head { opened: String::new(), place: Place::AfterCall };
                }
                true
            }
        }
    }

    /// Looks for the first tag in the held text, and returns the text before it.
    fn find_tag(&mut self, pieces: &mut Vec<Piece>) -> bool {
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
            self.state = ParserState::Head { opened, place: Place::AfterTag(which) };
            return true;
        }
        let undecided = tags.iter().map(|tag| tag.undecided(&self.held, self.fresh)).max().unwrap_or(0);
        let certain = self.take(self.held.len() - undecided);
        self.give(certain, pieces);
        false
    }

    /// Picks the reader for the arguments, in some formats by their first character.
    fn start_arguments(&mut self, opened: String, head: Head, pieces: &mut Vec<Piece>) -> bool {
        let first = trim_start(&self.held).chars().next();
        let reader: Box<dyn ArgumentReader> = match (head.arguments, first) {
            (Arguments::Parameters, _) => {
                let tool = self.tools.iter().find(|tool| tool.name == head.name);
                Box::new(Parameters::of(tool))
            }
            (_, None) => return self.wait(ParserState::Named { opened, head }),
            (Arguments::Object | Arguments::ObjectOrString, Some('{')) => Box::new(ObjectReader::default()),
            (Arguments::ObjectOrString, Some('"')) => Box::new(QuotedReader::default()),
            (Arguments::Object | Arguments::ObjectOrString, Some(_)) => return self.give_up(opened, pieces),
        };
        if !matches!(head.arguments, Arguments::Parameters) {
            let blank = self.held.len() - trim_start(&self.held).len();
            self.take(blank);
        }
        self.state = ParserState::Arguments { name: head.name, reader, list: head.list, opening: Some(opened) };
        true
    }

    /// Stays in this state until more text arrives.
    fn wait(&mut self, state: ParserState) -> bool {
        self.state = state;
        false
    }

    /// Not a call after all: returns its markup as plain text, and searches the rest for tags again.
    fn give_up(&mut self, opened: String, pieces: &mut Vec<Piece>) -> bool {
        self.fresh = false;
        self.give(opened, pieces);
        true
    }

    fn give(&mut self, text: String, pieces: &mut Vec<Piece>) {
        self.fresh &= text.is_empty();
        pieces.extend(some_text(text));
    }

    fn take(&mut self, length: usize) -> String {
        let rest = self.held.split_off(length);
        std::mem::replace(&mut self.held, rest)
    }
}

fn some_text(text: String) -> Option<Piece> {
    (!text.is_empty()).then_some(Piece::Text(text))
}
