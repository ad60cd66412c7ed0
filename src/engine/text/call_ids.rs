//! Ids of tool calls in prompts.
//!
//! Clients' ids are random, and some templates accept only nine letters and digits. So prompts identify a call by its number in
//! the conversation, which is the same in every request and known before the model writes the call.

use std::collections::HashMap;

use crate::wire::{ContentBlock, MessagesRequest};

/// The id of the conversation's call with this number, counted from 1.
pub(crate) fn of_number(number: usize) -> String {
    format!("call{:05}", number % 100_000)
}

/// How many tool calls the conversation has.
pub(crate) fn count(request: &MessagesRequest) -> usize {
    let blocks = request.messages.iter().flat_map(|message| message.content.listed());
    blocks.filter(|block| matches!(block, ContentBlock::ToolUse { .. })).count()
}

/// Assigns ids to a conversation's calls in order, and finds them again by the client's ids.
#[derive(Default)]
pub(crate) struct CallIds {
    /// The number and name of each call so far, by the client's id.
    calls: HashMap<String, (usize, String)>,
    count: usize,
}

impl CallIds {
    /// Assigns the next call its id.
    pub(crate) fn of_call(&mut self, client_id: &str, name: &str) -> String {
        self.count += 1;
        self.calls.insert(client_id.into(), (self.count, name.into()));
        of_number(self.count)
    }

    /// Id and name of the call that a result belongs to. A result without a call gets the id of number 0 and no name.
    pub(crate) fn of_result(&self, client_id: &str) -> (String, Option<&str>) {
        match self.calls.get(client_id) {
            Some((number, name)) => (of_number(*number), Some(name)),
            None => (of_number(0), None),
        }
    }
}
