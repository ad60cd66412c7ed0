//! Putting an answer's content in order.
//!
//! A chat stream may interleave the pieces of parallel calls; a Messages stream has one open content block at a time. So the
//! first unfinished part is passed on as it arrives, and the parts after it wait.

mod call_name;

use std::collections::{HashSet, VecDeque};

use serde_json::{Map, Value};

use self::call_name::ToolNames;
use super::call_arguments::CallArguments;
use crate::wire::openai::CallDelta;
use crate::wire::{ContentWriter, StreamEvent, from_json, random_id};

/// Takes the content of one chat answer piece by piece and emits it as content block events.
#[derive(Debug, Default)]
pub(crate) struct ContentQueue {
    /// What is not yet emitted whole, in order of arrival. The first part is emitted as its pieces arrive.
    parts: VecDeque<QueuedPart>,
    /// Every call of the answer.
    calls: Vec<QueuedCall>,
    /// Ids that calls of the conversation or of this answer have already.
    used_ids: HashSet<String>,
    /// The names of the offered tools.
    tools: ToolNames,
    /// Whether nothing more comes.
    is_over: bool,
    writer: ContentWriter,
}

#[derive(Debug)]
enum QueuedPart {
    Text(String),
    Thinking(String),
    /// An index into `calls`.
    Call(usize),
}

#[derive(Debug, Default)]
struct QueuedCall {
    /// The index that the call's pieces carry, if they carry one.
    index: Option<usize>,
    id: Option<String>,
    /// The name so far; empty before its first piece.
    name: String,
    arguments: CallArguments,
    /// Whether its content block was started.
    started: bool,
    /// The arguments that were passed on.
    passed_on: String,
}

impl QueuedCall {
    /// Whether what was passed on is a call's arguments: an object, or nothing.
    fn is_valid(&self) -> bool {
        self.passed_on.trim().is_empty() || from_json::<Map<String, Value>>(self.passed_on.as_bytes()).is_ok()
    }
}

impl ContentQueue {
    /// An empty queue for an answer in a conversation whose calls have these ids. `tools`: the names of the offered tools.
    pub(crate) fn new(used_ids: HashSet<String>, tools: Vec<String>) -> Self {
        Self { used_ids, tools: ToolNames(tools), ..Self::default() }
    }

    /// Adds text.
    pub(crate) fn text(&mut self, piece: &str) {
        match self.parts.back_mut() {
            _ if piece.is_empty() => {}
            Some(QueuedPart::Text(text)) => text.push_str(piece),
            _ => self.parts.push_back(QueuedPart::Text(piece.to_owned())),
        }
    }

    /// Adds reasoning.
    pub(crate) fn thinking(&mut self, piece: &str) {
        match self.parts.back_mut() {
            _ if piece.is_empty() => {}
            Some(QueuedPart::Thinking(text)) => text.push_str(piece),
            _ => self.parts.push_back(QueuedPart::Thinking(piece.to_owned())),
        }
    }

    /// Adds a piece of a call.
    pub(crate) fn call(&mut self, piece: &CallDelta) {
        let id = piece.id.as_deref().filter(|id| !id.is_empty());
        let name = piece.function.name.as_deref().filter(|name| !name.is_empty());
        let arguments = piece.function.arguments.as_deref().unwrap_or("");
        let at = match self.call_of(piece.index, id, name, arguments) {
            Some(at) => at,
            None if id.is_none() && name.is_none() && arguments.is_empty() => return,
            None => {
                self.calls.push(QueuedCall { index: piece.index, ..QueuedCall::default() });
                self.parts.push_back(QueuedPart::Call(self.calls.len() - 1));
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        call.id = call.id.take().or(id.map(str::to_owned));
        if let Some(piece) = name
            && !call.started
        {
            self.tools.add(&mut call.name, piece, call.arguments.is_empty());
        }
        call.arguments.push(arguments);
    }

    /// Adds a call that is known as a whole.
    pub(crate) fn whole_call(&mut self, name: String, arguments: Map<String, Value>) {
        let mut call = QueuedCall { name, ..QueuedCall::default() };
        call.arguments.push(&Value::Object(arguments).to_string());
        self.calls.push(call);
        self.parts.push_back(QueuedPart::Call(self.calls.len() - 1));
    }

    /// The call that a piece continues; `None` if it starts a new one.
    ///
    /// Some servers send no index, or the same one for every call. Then a new call is recognised by another id, or by a name with
    /// arguments after the previous call's arguments are complete.
    fn call_of(&self, index: Option<usize>, id: Option<&str>, name: Option<&str>, arguments: &str) -> Option<usize> {
        let same_id = |call: &QueuedCall| id.is_none() || call.id.is_none() || call.id.as_deref() == id;
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

    /// The events for everything that can be emitted by now.
    pub(crate) fn advance(&mut self) -> Vec<StreamEvent> {
        loop {
            self.emit_first();
            let finished = match self.parts.front() {
                None => break,
                Some(QueuedPart::Call(at)) => self.calls[*at].started && self.calls[*at].arguments.is_complete(),
                Some(QueuedPart::Text(_) | QueuedPart::Thinking(_)) => true,
            };
            // More pieces of the last part may come.
            if !finished || self.parts.len() == 1 {
                break;
            }
            self.close_first();
        }
        self.writer.take_events()
    }

    /// The events for the rest, when nothing more comes. Every block is closed.
    pub(crate) fn finish(&mut self) -> Vec<StreamEvent> {
        self.is_over = true;
        while !self.parts.is_empty() {
            self.emit_first();
            if let Some(QueuedPart::Call(at)) = self.parts.front() {
                let call = &mut self.calls[*at];
                let rest = call.arguments.finish();
                self.writer.tool_input(&rest);
                call.passed_on.push_str(&rest);
                if !call.started {
                    tracing::warn!(id = call.id, "a tool call without a name was dropped: no client could run it");
                }
            }
            self.close_first();
        }
        self.writer.take_events()
    }

    /// Whether the events so far include a tool call.
    pub(crate) fn has_calls(&self) -> bool {
        self.calls.iter().any(|call| call.started)
    }

    /// The calls that were passed on without being an object at their end, by the names of their tools. No client must run them.
    pub(crate) fn broken_calls(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter(|call| call.started && !call.is_valid()).map(|call| call.name.as_str())
    }

    /// Passes on what the first part holds.
    fn emit_first(&mut self) {
        match self.parts.front_mut() {
            None => {}
            Some(QueuedPart::Text(text)) => self.writer.text(&std::mem::take(text)),
            Some(QueuedPart::Thinking(text)) => self.writer.thinking(&std::mem::take(text)),
            Some(QueuedPart::Call(at)) => {
                let at = *at;
                self.emit_call(at);
            }
        }
    }

    /// Passes on what a call holds, once its name is whole.
    fn emit_call(&mut self, at: usize) {
        let more_follows = self.parts.len() > 1;
        let call = &mut self.calls[at];
        if !call.started {
            let is_whole = more_follows || self.is_over || self.tools.is_whole(&call.name, call.arguments.is_empty());
            if call.name.is_empty() || !is_whole {
                return;
            }
            call.started = true;
            let id = unused_id(call.id.clone(), &mut self.used_ids);
            self.writer.start_tool_use(id, call.name.clone());
        }
        let arguments = call.arguments.take();
        self.writer.tool_input(&arguments);
        call.passed_on.push_str(&arguments);
    }

    fn close_first(&mut self) {
        self.parts.pop_front();
        self.writer.close();
    }
}

/// The server's id for a call, or a new one where Anthropic's clients would stumble over it: some servers count from zero in
/// every answer, and a client that sees an id twice loses track of its calls.
fn unused_id(given: Option<String>, used: &mut HashSet<String>) -> String {
    let well_formed = |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let given = given.filter(well_formed).filter(|id| !used.contains(id));
    let id = given.unwrap_or_else(|| random_id("toolu_"));
    used.insert(id.clone());
    id
}
