//! From pieces that come in any order to content blocks that come one after the other.
//!
//! Chat streams may mix the pieces of parallel calls; Messages streams have one open block at a time. The first part that is
//! not finished is passed on as it comes, what belongs to later parts waits.

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value};

use super::arguments::Arguments;
use crate::wire::openai::CallDelta;
use crate::wire::{BlockDelta, ContentBlock, StreamEvent};

/// An answer's content as it comes.
#[derive(Debug, Default)]
pub struct Blocks {
    /// What is not given out yet, in order. The first part is the live one.
    parts: VecDeque<Part>,
    /// Every call so far.
    calls: Vec<Call>,
    /// Ids that calls of this conversation have already.
    used_ids: HashSet<String>,
    /// The index of the live part's block.
    index: usize,
    /// Whether the live part's block was started.
    open: bool,
    /// Whether a call was given out.
    called: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Thinking(String),
    /// A position in `calls`.
    Call(usize),
}

#[derive(Debug, Default)]
struct Call {
    /// What its pieces carry, if anything.
    index: Option<usize>,
    id: Option<String>,
    name: Option<String>,
    arguments: Arguments,
}

impl Blocks {
    /// No content yet, in a conversation whose calls have these ids.
    pub fn new(used_ids: HashSet<String>) -> Self {
        Self { used_ids, ..Self::default() }
    }

    /// Adds text.
    pub fn text(&mut self, piece: &str) {
        match self.parts.back_mut() {
            _ if piece.is_empty() => {}
            Some(Part::Text(text)) => text.push_str(piece),
            _ => self.parts.push_back(Part::Text(piece.to_owned())),
        }
    }

    /// Adds reasoning.
    pub fn thinking(&mut self, piece: &str) {
        match self.parts.back_mut() {
            _ if piece.is_empty() => {}
            Some(Part::Thinking(text)) => text.push_str(piece),
            _ => self.parts.push_back(Part::Thinking(piece.to_owned())),
        }
    }

    /// Adds a piece of a call.
    pub fn call(&mut self, piece: &CallDelta) {
        let id = piece.id.as_deref().filter(|id| !id.is_empty());
        let name = piece.function.name.as_deref().filter(|name| !name.is_empty());
        let arguments = piece.function.arguments.as_deref().unwrap_or("");
        let at = match self.owner(piece.index, id, name, arguments) {
            Some(at) => at,
            None if id.is_none() && name.is_none() && arguments.is_empty() => return,
            None => {
                self.calls.push(Call { index: piece.index, ..Call::default() });
                self.parts.push_back(Part::Call(self.calls.len() - 1));
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        call.id = call.id.take().or(id.map(str::to_owned));
        call.name = call.name.take().or(name.map(str::to_owned));
        call.arguments.push(arguments);
    }

    /// The call that a piece belongs to; none if it starts one. Some servers leave the index out, or give all calls the same:
    /// then another id, or a name with arguments after a call is complete, tells a new call.
    fn owner(&self, index: Option<usize>, id: Option<&str>, name: Option<&str>, arguments: &str) -> Option<usize> {
        let same_id = |call: &Call| id.is_none() || call.id.is_none() || call.id.as_deref() == id;
        let at = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_some() => self.calls.iter().rposition(same_id),
            None => self.calls.len().checked_sub(1),
        }?;
        let call = &self.calls[at];
        let other_id = name.is_some() && !same_id(call);
        let next = name.is_some() && id.is_none() && call.arguments.is_complete() && !arguments.is_empty();
        (!other_id && !next).then_some(at)
    }

    /// The events for what can be given out by now.
    pub fn advance(&mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        loop {
            self.give(&mut events);
            let finished = match self.parts.front() {
                None => return events,
                Some(Part::Call(at)) => self.calls[*at].arguments.is_complete() && self.calls[*at].name.is_some(),
                Some(Part::Text(_) | Part::Thinking(_)) => true,
            };
            if !finished || self.parts.len() == 1 {
                return events;
            }
            self.close(&mut events);
        }
    }

    /// The events for the rest: every block is closed.
    pub fn finish(&mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while !self.parts.is_empty() {
            self.give(&mut events);
            if let Some(Part::Call(at)) = self.parts.front() {
                let at = *at;
                let rest = self.calls[at].arguments.finish();
                self.input(rest, &mut events);
                if self.calls[at].name.is_none() {
                    tracing::warn!(id = self.calls[at].id, "a tool call without a name was dropped: nobody could run it");
                }
            }
            self.close(&mut events);
        }
        events
    }

    /// Whether a call was given out.
    pub fn called(&self) -> bool {
        self.called
    }

    /// Gives out what the live part holds.
    fn give(&mut self, events: &mut Vec<StreamEvent>) {
        let delta = match self.parts.front_mut() {
            None => return,
            Some(Part::Call(at)) => {
                let at = *at;
                self.start_call(at, events);
                let piece = if self.open { self.calls[at].arguments.take() } else { String::new() };
                return self.input(piece, events);
            }
            // White space alone is no content: Anthropic's API refuses such a block when it comes back.
            Some(Part::Text(text)) if !self.open && text.trim().is_empty() => return,
            Some(Part::Text(text)) => BlockDelta::TextDelta { text: std::mem::take(text) },
            Some(Part::Thinking(text)) => BlockDelta::ThinkingDelta { thinking: std::mem::take(text) },
        };
        match &delta {
            BlockDelta::TextDelta { text } if text.is_empty() => return,
            BlockDelta::ThinkingDelta { thinking } if thinking.is_empty() => return,
            BlockDelta::TextDelta { .. } => self.start(ContentBlock::text(""), events),
            _ => self.start(ContentBlock::Thinking { thinking: String::new(), signature: String::new() }, events),
        }
        events.push(StreamEvent::ContentBlockDelta { index: self.index, delta });
    }

    /// Starts the live call's block, once its name is known.
    fn start_call(&mut self, at: usize, events: &mut Vec<StreamEvent>) {
        let Some(name) = self.calls[at].name.clone().filter(|_| !self.open) else { return };
        let given = self.calls[at].id.clone();
        let id = self.id_for(given);
        self.start(ContentBlock::ToolUse { id, name, input: Value::Object(Map::new()), extra: Map::new() }, events);
        self.called = true;
    }

    /// The server's id, where Anthropic's clients take it: some servers count from zero in every answer, and a client that sees
    /// an id a second time loses track.
    fn id_for(&mut self, given: Option<String>) -> String {
        let well_formed = |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let given = given.filter(well_formed).filter(|id| !self.used_ids.contains(id));
        let id = given.unwrap_or_else(|| format!("toolu_{}", uuid::Uuid::new_v4().simple()));
        self.used_ids.insert(id.clone());
        id
    }

    fn input(&mut self, partial_json: String, events: &mut Vec<StreamEvent>) {
        if self.open && !partial_json.is_empty() {
            let delta = BlockDelta::InputJsonDelta { partial_json };
            events.push(StreamEvent::ContentBlockDelta { index: self.index, delta });
        }
    }

    fn start(&mut self, content_block: ContentBlock, events: &mut Vec<StreamEvent>) {
        if !self.open {
            self.open = true;
            events.push(StreamEvent::ContentBlockStart { index: self.index, content_block });
        }
    }

    /// Is done with the live part.
    fn close(&mut self, events: &mut Vec<StreamEvent>) {
        self.parts.pop_front();
        if std::mem::take(&mut self.open) {
            events.push(StreamEvent::ContentBlockStop { index: self.index });
            self.index += 1;
        }
    }
}
