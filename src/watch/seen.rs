//! What was read of finished exchanges, so that none is read again for each state of a page.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beginning::Asked;
use super::folder::{ExchangeEntry, read_entry};
use super::kept::{Kept, Stamp};
use crate::report::html::recorded::{ExchangeOutline, ListedExchange};
use crate::trace::{Trace, TraceError, outlines, read};

/// The most exchanges whose lines are held: each is less than a kilobyte, but for those with many calls.
const LINES: usize = 2_000;

/// The most prompts that are held: those before an exchange or two.
const PROMPTS: usize = 6;

/// What was read of finished exchanges.
pub(super) struct Seen {
    lines: Kept<Result<ExchangeOutline, String>>,
    prompts: Kept<Option<Asked>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { lines: Kept::of_most(LINES), prompts: Kept::of_most(PROMPTS) }
    }
}

impl Seen {
    /// Exchanges as the list shows them, the newest first. One of which nothing is written yet, or that is gone, is left out.
    pub(super) fn listed(&self, entries: &[ExchangeEntry]) -> Vec<ListedExchange> {
        self.read_finished(entries);
        let listed = entries
            .iter()
            .rev()
            .filter_map(|entry| Some(ListedExchange { seq: entry.seq, is_open: entry.is_open, outline: self.outline(entry)? }));
        listed.collect()
    }

    /// Holds the lines of those that are finished, and were not read as they are now. Read together, what their requests repeat
    /// is read once; of each no more than its line is held.
    fn read_finished(&self, entries: &[ExchangeEntry]) {
        let finished = entries.iter().filter(|entry| !entry.is_open);
        let stamped = finished.filter_map(|entry| Some((entry.path.clone(), Stamp::of(&entry.path).ok()?)));
        let unread = stamped.filter(|(path, stamp)| self.lines.get(path, *stamp).is_none());
        let (files, stamps): (Vec<PathBuf>, Vec<Stamp>) = unread.unzip();
        let made = outlines(&files, unread_item, |_, outline| outline_of(outline.map(|outline| outline.trace)));
        for ((path, stamp), made) in files.iter().zip(stamps).zip(made) {
            self.lines.keep(path, stamp, made);
        }
    }

    fn outline(&self, entry: &ExchangeEntry) -> Option<Arc<Result<ExchangeOutline, String>>> {
        if entry.is_open {
            return read_entry(entry).transpose().map(|trace| Arc::new(outline_of(trace)));
        }
        let stamp = Stamp::of(&entry.path).ok()?;
        let held = self.lines.get(&entry.path, stamp);
        Some(held.unwrap_or_else(|| self.lines.keep(&entry.path, stamp, outline_of(read(&entry.path)))))
    }

    /// What a finished exchange asked; `None` in it if it asked nothing, or cannot be read.
    pub(super) fn asked(&self, path: &Path) -> Option<Arc<Option<Asked>>> {
        let stamp = Stamp::of(path).ok()?;
        let held = self.prompts.get(path, stamp);
        Some(held.unwrap_or_else(|| self.prompts.keep(path, stamp, read(path).ok().as_ref().and_then(Asked::by))))
    }
}

fn outline_of(trace: Result<Trace, TraceError>) -> Result<ExchangeOutline, String> {
    trace.as_ref().map(ExchangeOutline::of).map_err(ToString::to_string)
}

/// The long lists of the requests are not shown.
fn unread_item(_list: &'static str, _at: usize, _json: &[u8]) -> serde_json::Result<()> {
    Ok(())
}
