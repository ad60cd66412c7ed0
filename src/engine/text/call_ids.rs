//! Ids of tool calls as prompts have them.
//!
//! Clients' ids are random, and some templates take none but nine letters and digits. So a call's id is its number in the
//! conversation: the same whenever the conversation comes, and known before the model writes the next call.

use std::collections::HashMap;

use crate::wire::{ContentBlock, MessagesRequest};

/// The id of the conversation's call of this number, from 1 on.
pub(crate) fn of_number(number: usize) -> String {
    format!("call{:05}", number % 100_000)
}

/// How many calls the conversation has.
pub(crate) fn count(request: &MessagesRequest) -> usize {
    let calls = |blocks: &[ContentBlock]| blocks.iter().filter(|block| matches!(block, ContentBlock::ToolUse { .. })).count();
    request.messages.iter().map(|message| calls(&message.content.blocks())).sum()
}

/// The calls seen so far, by their clients' ids.
#[derive(Default)]
pub(crate) struct CallIds {
    calls: HashMap<String, (usize, String)>,
    count: usize,
}

impl CallIds {
    /// The id of the next call.
    pub(crate) fn of_call(&mut self, client_id: &str, name: &str) -> String {
        self.count += 1;
        self.calls.insert(client_id.into(), (self.count, name.into()));
        of_number(self.count)
    }

    /// The id and the name of the call that has this result; of none, where there was no such call.
    pub(crate) fn of_result(&self, client_id: &str) -> (String, Option<&str>) {
        match self.calls.get(client_id) {
            Some((number, name)) => (of_number(*number), Some(name)),
            None => (of_number(0), None),
        }
    }
}
