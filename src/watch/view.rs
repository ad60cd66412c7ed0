//! What each page shows, and when that has changed.

use std::fmt::Display;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use maud::Markup;

use super::beginning::beginning;
use super::folder::{exchange_entries, exchange_of, listed, modified, session_folders, session_line};
use crate::report::html::recorded::{
    FollowedExchange, Step, exchange_part, following_page, nothing_part, session_part, sessions_part,
};
use crate::trace::{TraceError, is_session_name, partial_path, path_of, read};

/// The most sessions that are listed.
const MOST_SESSIONS: usize = 200;

/// The most exchanges of a session that are listed.
const MOST_EXCHANGES: usize = 100;

/// How many exchanges before it a prompt is compared with: requests beside the conversation, such as for its title, come in
/// between.
const EARLIER: usize = 3;

/// What a page shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    /// The sessions.
    Sessions,
    /// The exchanges of a session.
    Session(String),
    /// An exchange.
    Exchange { session: String, seq: u32 },
}

/// A state of what a page shows.
pub(super) struct Part {
    pub html: Markup,
    /// Whether it will never change again.
    pub is_last: bool,
}

impl View {
    /// The view at this path below the page's token, in its parts between slashes, without the last one.
    pub(super) fn at(path: &[&str]) -> Option<Self> {
        match path {
            [] => Some(Self::Sessions),
            ["s", session] if is_session_name(session) => Some(Self::Session((*session).to_owned())),
            ["s", session, seq] if is_session_name(session) => {
                Some(Self::Exchange { session: (*session).to_owned(), seq: seq.parse().ok()? })
            }
            _ => None,
        }
    }

    /// The whole page.
    pub(super) fn page(&self, root: &Path) -> String {
        let sessions = |address| Step { address, name: "sessions".into() };
        let (title, way) = match self {
            Self::Sessions => ("Sessions".to_owned(), Vec::new()),
            Self::Session(session) => (session.clone(), vec![sessions("../../")]),
            Self::Exchange { session, seq } => {
                (format!("{session}/{seq:04}"), vec![sessions("../../../"), Step { address: "../", name: session.clone() }])
            }
        };
        following_page(&title, &way, &self.part(root).html)
    }

    /// What it shows now, and a number for that, if the number is another than before.
    pub(super) fn changed(&self, root: &Path, before: Option<u64>) -> Option<(u64, Part)> {
        // In this order: what changes between them is seen the next time.
        let number = self.number(root);
        (before != Some(number)).then(|| (number, self.part(root)))
    }

    /// A number that is another when the files have changed.
    fn number(&self, root: &Path) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut add = |path: &Path| {
            let metadata = fs::metadata(path).ok();
            metadata.map(|metadata| (modified(&metadata), metadata.len())).hash(&mut hasher);
        };
        match self {
            Self::Sessions => session_folders(root).unwrap_or_default().iter().for_each(|(name, _)| add(&root.join(name))),
            Self::Session(session) => {
                add(&root.join(session));
                let entries = exchange_entries(root, session).unwrap_or_default();
                entries.iter().filter(|entry| entry.is_open).for_each(|entry| add(&entry.path));
            }
            Self::Exchange { session, seq } => {
                let path = path_of(root, session, *seq);
                add(&path);
                add(&partial_path(&path));
            }
        }
        hasher.finish()
    }

    fn part(&self, root: &Path) -> Part {
        match self {
            Self::Sessions => Part::open(sessions(root)),
            Self::Session(session) => Part::open(session_exchanges(root, session)),
            Self::Exchange { session, seq } => match followed(root, session, *seq) {
                Ok(Some(exchange)) => Part { html: exchange_part(&exchange), is_last: !exchange.is_open },
                Ok(None) => Part::open(Err("There is no such exchange.")),
                Err(error) => Part::open(Err(error)),
            },
        }
    }
}

impl Part {
    /// What may change again: this, or why there is nothing to see.
    fn open(html: Result<Markup, impl Display>) -> Self {
        Self { html: html.unwrap_or_else(|reason| nothing_part(&reason.to_string())), is_last: false }
    }
}

fn sessions(root: &Path) -> io::Result<Markup> {
    let mut folders = session_folders(root)?;
    folders.sort_by_key(|(name, changed)| (std::cmp::Reverse(*changed), name.clone()));
    let more = folders.len().saturating_sub(MOST_SESSIONS);
    folders.truncate(MOST_SESSIONS);
    // One that goes meanwhile is left out.
    let lines: Vec<_> = folders.into_iter().filter_map(|(name, changed)| session_line(root, name, changed).ok()).collect();
    Ok(sessions_part(&lines, more))
}

fn session_exchanges(root: &Path, session: &str) -> io::Result<Markup> {
    let entries = exchange_entries(root, session)?;
    let more = entries.len().saturating_sub(MOST_EXCHANGES);
    Ok(session_part(&listed(&entries[more..]), more))
}

fn followed(root: &Path, session: &str, seq: u32) -> Result<Option<FollowedExchange>, TraceError> {
    let Some((trace, is_open)) = exchange_of(root, session, seq)? else { return Ok(None) };
    let entries = exchange_entries(root, session).unwrap_or_default();
    let earlier = entries.iter().rev().filter(|entry| entry.seq < seq && !entry.is_open).take(EARLIER);
    // One that cannot be read is not compared with.
    let earlier: Vec<_> = earlier.filter_map(|entry| read(&entry.path).ok()).collect();
    Ok(Some(FollowedExchange { beginning: beginning(&trace, &earlier), trace, is_open }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_view_and_nothing_outside_of_the_folder() {
        assert_eq!(View::at(&[]), Some(View::Sessions));
        assert_eq!(View::at(&["s", "a"]), Some(View::Session("a".into())));
        assert_eq!(View::at(&["s", "a", "12"]), Some(View::Exchange { session: "a".into(), seq: 12 }));
        for path in [&["s", ".."][..], &["s", "..", "1"], &["s", "a", "x"], &["s", "a%2fb"], &["s"], &["x"], &["s", "", "1"]] {
            assert_eq!(View::at(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_view_changes_with_its_files() {
        let root = tempfile::tempdir().unwrap();
        let view = View::Exchange { session: "a".into(), seq: 1 };
        let (first, part) = view.changed(root.path(), None).unwrap();
        assert!(!part.is_last && part.html.into_string().contains("no such exchange"));
        assert!(view.changed(root.path(), Some(first)).is_none());
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/0001.json.partial"), "{").unwrap();
        assert!(view.changed(root.path(), Some(first)).is_some());
        assert!(View::Sessions.page(root.path()).contains("href=\"s/a/\""));
    }
}
