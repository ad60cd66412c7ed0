//! What each page shows, and when that has changed.

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use maud::Markup;

use super::beginning::{Asked, beginning};
use super::folder::{exchange_entries, exchange_of, session_folders, session_line};
use super::kept::Stamp;
use super::seen::Seen;
use super::topics::Topics;
use crate::report::html::recorded::{
    ExchangesPage, FollowedExchange, Step, exchange_part, following_page, nothing_part, session_part, sessions_part,
};
use crate::trace::{TraceError, is_session_name, partial_path, path_of};

/// The most sessions that are listed.
const MOST_SESSIONS: usize = 200;

/// The most exchanges of a session that are listed.
const MOST_EXCHANGES: usize = 100;

/// How many exchanges before it a prompt is compared with: requests beside the conversation, such as for its title, come in
/// between.
const EARLIER: usize = 3;

/// The folder that the pages show.
pub(super) struct Shown {
    /// The folder of the sessions' folders.
    pub root: PathBuf,
    /// What its sessions are about.
    pub topics: Topics,
    /// What was read of its finished exchanges.
    pub seen: Seen,
}

impl Shown {
    /// A folder of which nothing was read yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, topics: Topics::default(), seen: Seen::default() }
    }
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    /// The sessions.
    Sessions,
    /// Exchanges of a session: the newest, or those before a number.
    Session { session: String, before: Option<u32> },
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
            ["s", session, rest @ ..] if is_session_name(session) => {
                let session = (*session).to_owned();
                match rest {
                    [] => Some(Self::Session { session, before: None }),
                    ["before", seq] => Some(Self::Session { session, before: Some(seq.parse().ok()?) }),
                    [seq] => Some(Self::Exchange { session, seq: seq.parse().ok()? }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The whole page.
    pub(super) fn page(&self, shown: &Shown) -> String {
        let step = |address, name: &str| Step { address, name: name.to_owned() };
        let (title, way) = match self {
            Self::Sessions => ("Sessions".to_owned(), Vec::new()),
            Self::Session { session, before: None } => (session.clone(), vec![step("../../", "sessions")]),
            Self::Session { session, before: Some(seq) } => {
                (format!("Before {seq:04}"), vec![step("../../../../", "sessions"), step("../../", session)])
            }
            Self::Exchange { session, seq } => {
                (format!("Exchange {seq:04}"), vec![step("../../../", "sessions"), step("../", session)])
            }
        };
        following_page(&title, &way, &self.part(shown).html)
    }

    /// What it shows now, and a number for that, if the number is another than before.
    pub(super) fn changed(&self, shown: &Shown, before: Option<u64>) -> Option<(u64, Part)> {
        // In this order: what changes between them is seen the next time.
        let number = self.number(&shown.root);
        (before != Some(number)).then(|| (number, self.part(shown)))
    }

    /// Whether what it shows has another number than before: much less work than showing it.
    pub(super) fn has_changed(&self, shown: &Shown, before: Option<u64>) -> bool {
        before != Some(self.number(&shown.root))
    }

    /// A number that is another when the files have changed.
    fn number(&self, root: &Path) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut add = |path: &Path| Stamp::of(path).ok().hash(&mut hasher);
        match self {
            Self::Sessions => session_folders(root).unwrap_or_default().iter().for_each(|(name, _)| add(&root.join(name))),
            Self::Session { session, .. } => {
                add(&root.join(session));
                let entries = exchange_entries(root, session).unwrap_or_default();
                entries.iter().filter(|entry| entry.is_open).for_each(|entry| add(&entry.path));
            }
            Self::Exchange { session, seq } => {
                let path = path_of(root, session, *seq);
                // The next exchange makes a file there.
                [&root.join(session), &path, &partial_path(&path)].into_iter().for_each(|path| add(path));
            }
        }
        hasher.finish()
    }

    fn part(&self, shown: &Shown) -> Part {
        match self {
            Self::Sessions => Part::open(sessions(shown)),
            Self::Session { session, before } => Part::open(session_exchanges(shown, session, *before)),
            Self::Exchange { session, seq } => match followed(shown, session, *seq) {
                Ok(Some(exchange)) => {
                    let is_last = !exchange.is_open && exchange.beside[1].is_some();
                    Part { html: exchange_part(&exchange), is_last }
                }
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

fn sessions(Shown { root, topics, .. }: &Shown) -> io::Result<Markup> {
    let mut folders = session_folders(root)?;
    folders.sort_by_key(|(name, changed)| (std::cmp::Reverse(*changed), name.clone()));
    let more = folders.len().saturating_sub(MOST_SESSIONS);
    folders.truncate(MOST_SESSIONS);
    // One that goes meanwhile is left out, and the recorder's own as long as nothing is in it.
    let line = |(name, changed)| session_line(root, topics, name, changed).ok().filter(|line| line.recorded + line.open > 0);
    let lines: Vec<_> = folders.into_iter().filter_map(line).collect();
    Ok(sessions_part(&lines, more))
}

fn session_exchanges(Shown { root, seen, .. }: &Shown, session: &str, before: Option<u32>) -> io::Result<Markup> {
    let mut entries = exchange_entries(root, session)?;
    entries.retain(|entry| before.is_none_or(|before| entry.seq < before));
    let older = entries.len().saturating_sub(MOST_EXCHANGES);
    Ok(session_part(&ExchangesPage { exchanges: seen.listed(&entries[older..]), older, before }))
}

fn followed(Shown { root, seen, .. }: &Shown, session: &str, seq: u32) -> Result<Option<FollowedExchange>, TraceError> {
    let Some((trace, is_open)) = exchange_of(root, session, seq)? else { return Ok(None) };
    let entries = exchange_entries(root, session).unwrap_or_default();
    let (before, behind): (Vec<_>, Vec<_>) = entries.iter().filter(|entry| entry.seq != seq).partition(|entry| entry.seq < seq);
    let beside = [before.last(), behind.first()].map(|entry| entry.map(|entry| entry.seq));
    let earlier = before.iter().rev().filter(|entry| !entry.is_open).take(EARLIER);
    let earlier: Vec<_> = earlier.filter_map(|entry| seen.asked(&entry.path)).collect();
    let asked = earlier.iter().filter_map(|asked| Option::<Asked>::as_ref(asked));
    Ok(Some(FollowedExchange { beginning: beginning(&trace, asked), trace, is_open, beside }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_names_a_view_and_nothing_outside_of_the_folder() {
        assert_eq!(View::at(&[]), Some(View::Sessions));
        assert_eq!(View::at(&["s", "a"]), Some(View::Session { session: "a".into(), before: None }));
        assert_eq!(View::at(&["s", "a", "before", "9"]), Some(View::Session { session: "a".into(), before: Some(9) }));
        assert_eq!(View::at(&["s", "a", "12"]), Some(View::Exchange { session: "a".into(), seq: 12 }));
        for path in [&["s", ".."][..], &["s", "..", "1"], &["s", "a", "x"], &["s", "a%2fb"], &["s"], &["x"], &["s", "", "1"]] {
            assert_eq!(View::at(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_view_changes_with_its_files() {
        let root = tempfile::tempdir().unwrap();
        let shown = Shown::new(root.path().to_owned());
        let view = View::Exchange { session: "a".into(), seq: 1 };
        let (first, part) = view.changed(&shown, None).unwrap();
        assert!(!part.is_last && part.html.into_string().contains("no such exchange"));
        assert!(view.changed(&shown, Some(first)).is_none());
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/0001.json.partial"), "{").unwrap();
        assert!(view.changed(&shown, Some(first)).is_some());
        assert!(View::Sessions.page(&shown).contains("href=\"s/a/\""));
    }

    #[test]
    fn a_finished_exchange_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        let shown = Shown::new(root.path().to_owned());
        fs::create_dir(root.path().join("a")).unwrap();
        let path = path_of(root.path(), "a", 1);
        fs::copy("traces/read-file/0001.json", &path).unwrap();
        let view = View::Session { session: "a".into(), before: None };
        let page = view.page(&shown);
        assert!(page.contains("Read"), "{page}");
        // Another text of the same length and time: whoever reads it again says that it is no trace.
        let was = fs::metadata(&path).unwrap();
        fs::write(&path, " ".repeat(was.len() as usize)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(was.modified().unwrap()).unwrap();
        assert_eq!(view.page(&shown), page);
        fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        assert_ne!(view.page(&shown), page);
    }

    #[test]
    fn of_ten_thousand_exchanges_a_page_has_a_hundred_and_all_can_be_reached() {
        let root = tempfile::tempdir().unwrap();
        let shown = Shown::new(root.path().to_owned());
        fs::create_dir(root.path().join("a")).unwrap();
        // They cannot be read, which is said in their rows.
        (1..=10_000).for_each(|seq| fs::write(path_of(root.path(), "a", seq), "").unwrap());
        let mut before = None;
        let mut listed = 0;
        loop {
            let page = View::Session { session: "a".into(), before }.part(&shown).html.into_string();
            let rows = page.matches("scope=\"row\"").count();
            assert_eq!(rows, MOST_EXCHANGES);
            listed += rows;
            let older = page.split("before/").nth(1).map(|rest| rest.split('/').next().unwrap().parse().unwrap());
            let Some(older) = older else { break };
            before = Some(older);
        }
        assert_eq!(listed, 10_000);
    }
}
