//! What lists said of recorded exchanges.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::folder::{ExchangeEntry, modified};
use crate::report::html::recorded::ListedExchange;

/// The most that are held: the pages of some people.
const HELD: usize = 1_000;

/// What lists said of recorded exchanges. Each is read once, as a trace does not change: a page that follows a session would
/// otherwise read a hundred of them four times a second.
#[derive(Debug, Default)]
pub(super) struct Rows(Mutex<HashMap<PathBuf, Row>>);

/// What a list said of the trace that was written at this time: a session that is removed may begin anew under its name.
#[derive(Debug)]
struct Row {
    written: SystemTime,
    said: ListedExchange,
}

impl Rows {
    /// What the list says of these recorded exchanges. `read`: of those that are not held, in the same order.
    pub(super) fn of(
        &self,
        entries: &[&ExchangeEntry],
        read: impl FnOnce(&[&ExchangeEntry]) -> Vec<ListedExchange>,
    ) -> Vec<ListedExchange> {
        // No change of it stops half way.
        let held = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written: Vec<_> = entries.iter().map(|entry| fs::metadata(&entry.path).ok().map(|found| modified(&found))).collect();
        let (mut said, mut unknown, mut times) = (Vec::new(), Vec::new(), Vec::new());
        {
            let held = held();
            for (entry, written) in entries.iter().zip(written) {
                match held.get(&entry.path).filter(|row| Some(row.written) == written) {
                    Some(row) => said.push(row.said.clone()),
                    None => {
                        unknown.push(*entry);
                        times.push(written);
                    }
                }
            }
        }
        let rows = read(&unknown);
        let mut held = held();
        if held.len() + rows.len() > HELD {
            held.clear();
        }
        // What cannot be read now may be mended.
        for ((entry, written), said) in unknown.iter().zip(times).zip(&rows) {
            if let (Some(written), Ok(_)) = (written, &said.facts) {
                held.insert(entry.path.clone(), Row { written, said: said.clone() });
            }
        }
        said.extend(rows);
        said
    }

    /// How many are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
