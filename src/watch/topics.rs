//! What sessions are about.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::folder::{ExchangeEntry, read_entry};
use crate::replay::last_user_turn;
use crate::report::html::recorded::shortened;
use crate::trace::messages_request;

/// How many of a session's first exchanges are looked at: one for its title, or one that counts tokens, may come first.
const LOOKED_AT: usize = 3;

/// The most topics that are held.
const HELD: usize = 1_000;

/// What the sessions that were listed are about. Each is read once, as its first exchanges do not change.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<HashMap<String, Topic>>);

#[derive(Clone, Debug)]
struct Topic {
    /// Empty if the exchanges that were looked at have none.
    text: String,
    /// How many were.
    looked_at: usize,
}

impl Topics {
    /// What a session with these exchanges is about: the beginning of what was asked first; empty if nothing was, yet.
    pub(super) fn of(&self, session: &Path, entries: &[ExchangeEntry]) -> String {
        let name = session.to_string_lossy();
        let known = self.held().get(&*name).cloned();
        let first = &entries[..entries.len().min(LOOKED_AT)];
        if let Some(known) = known
            && (!known.text.is_empty() || known.looked_at >= first.len())
        {
            return known.text;
        }
        let topic = topic(first);
        let mut held = self.held();
        if held.len() >= HELD {
            held.clear();
        }
        held.insert(name.into_owned(), topic.clone());
        topic.text
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        // No change of it stops half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn topic(first: &[ExchangeEntry]) -> Topic {
    let mut looked_at = 0;
    for entry in first {
        // One that cannot be read, or of which nothing is written yet, is looked at again.
        let Ok(Some(trace)) = read_entry(entry) else { continue };
        looked_at += 1;
        let text = messages_request(&trace).map(|request| shortened(&last_user_turn(&request))).unwrap_or_default();
        if !text.is_empty() {
            return Topic { text, looked_at };
        }
    }
    Topic { text: String::new(), looked_at }
}
