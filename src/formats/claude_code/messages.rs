//! The messages of a transcript by the digests that its requests name them by.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::canonical::{canonical, into_blocks, message_digest, uncached_digest};
use super::line::{Blob, UserMessage};

/// How many of the last lines are tried together where none alone is the message that is looked for.
const JOINED: usize = 8;

/// A message, which many requests have.
pub(super) struct Message {
    pub value: Value,
    canonical: OnceLock<Vec<u8>>,
}

impl Message {
    fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { value, canonical: OnceLock::new() })
    }

    /// Its canonical JSON.
    pub(super) fn canonical(&self) -> &[u8] {
        self.canonical.get_or_init(|| canonical(&self.value))
    }
}

/// What is known so far.
#[derive(Default)]
pub(super) struct Messages {
    by_digest: HashMap<String, Arc<Message>>,
    /// The lines of the user and of tools since the last whole answer, in blocks. Claude Code sends those of one turn as one
    /// message: several tools' results, and what the user typed meanwhile.
    turn: Vec<Vec<Value>>,
    /// The last lines of turns before.
    earlier: Vec<Vec<Value>>,
    /// The answer that is being written down, a block a line.
    answer: Vec<Value>,
    /// The id of that answer.
    answer_id: Value,
}

impl Messages {
    /// Adds a message that has its name; whether the name is right.
    pub(super) fn add_blob(&mut self, Blob { hash, mut message }: Blob) -> bool {
        if let Some(content) = message.get_mut("content") {
            *content = Value::Array(into_blocks(content.take()));
        }
        let message = Value::Object(message);
        let is_right = uncached_digest(&message) == hash;
        if is_right {
            self.by_digest.insert(hash, Message::new(message));
        }
        is_right
    }

    pub(super) fn add_user(&mut self, message: UserMessage) {
        self.end_answer();
        let blocks = into_blocks(message.content);
        self.name("user", blocks.clone());
        self.turn.push(blocks);
    }

    /// Adds a block of an answer.
    pub(super) fn add_assistant(&mut self, id: &Value, content: &Value) {
        if self.answer_id != *id {
            self.end_answer();
            self.answer.clear();
            self.end_turn();
            self.answer_id = id.clone();
        }
        self.answer.extend(into_blocks(content.clone()));
    }

    pub(super) fn find(&mut self, digest: &str) -> Option<Arc<Message>> {
        self.end_answer();
        let known = self.by_digest.get(digest).cloned();
        known.or_else(|| self.joined(digest)).or_else(|| self.begun(digest))
    }

    /// Names the answer as far as it came. A tool's result may stand between its blocks.
    fn end_answer(&mut self) {
        if !self.answer.is_empty() {
            self.name("assistant", self.answer.clone());
        }
    }

    fn end_turn(&mut self) {
        if self.turn.len() > 1 {
            self.name("user", self.turn.concat());
        }
        self.earlier.append(&mut self.turn);
        let old = self.earlier.len().saturating_sub(JOINED);
        self.earlier.drain(..old);
    }

    /// Some of the last lines as one message.
    fn joined(&mut self, digest: &str) -> Option<Arc<Message>> {
        let lines: Vec<&Vec<Value>> = self.earlier.iter().chain(&self.turn).collect();
        let lines = &lines[lines.len().saturating_sub(JOINED)..];
        let runs = (0..=lines.len()).rev().flat_map(|end| (0..end.saturating_sub(1)).rev().map(move |start| start..end));
        let mut runs = runs.map(|run| lines[run].iter().flat_map(|blocks| blocks.iter().cloned()).collect::<Vec<_>>());
        let blocks = runs.find(|blocks| message_digest("user", blocks) == digest)?;
        Some(self.insert(digest.to_owned(), message_of("user", blocks)))
    }

    /// The first blocks of the last answer: what a client sends back of one that broke off.
    fn begun(&mut self, digest: &str) -> Option<Arc<Message>> {
        let mut beginnings = (1..self.answer.len()).rev().map(|length| &self.answer[..length]);
        let blocks = beginnings.find(|blocks| message_digest("assistant", blocks) == digest)?.to_vec();
        Some(self.insert(digest.to_owned(), message_of("assistant", blocks)))
    }

    fn name(&mut self, role: &str, blocks: Vec<Value>) {
        let digest = message_digest(role, &blocks);
        self.by_digest.entry(digest).or_insert_with(|| message_of(role, blocks));
    }

    fn insert(&mut self, digest: String, message: Arc<Message>) -> Arc<Message> {
        self.by_digest.insert(digest, message.clone());
        message
    }
}

fn message_of(role: &str, content: Vec<Value>) -> Arc<Message> {
    Message::new(json!({"role": role, "content": content}))
}
