//! What is in the folder of an import already, so that an import goes on where another one ended.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use memchr::memmem;
use rayon::prelude::*;
use serde::Deserialize;

use super::open::open;
use crate::trace::Trace;

/// Which exchanges the traces of a folder are of.
#[derive(Default)]
pub(super) struct Filed {
    sessions: HashMap<String, FiledSession>,
    /// Of all sessions' exchanges.
    ids: HashSet<String>,
}

/// The traces of one session.
#[derive(Default)]
struct FiledSession {
    /// All that are taken.
    numbers: HashSet<u32>,
    last: u32,
    /// By the exchange's id.
    by_id: HashMap<String, u32>,
    /// By the time of the request.
    by_time: HashMap<String, u32>,
    /// Who made them; `None` of a file that does not say it.
    modes: HashSet<Option<String>>,
}

/// The first fields of a trace's file, as far as they are needed.
#[derive(Deserialize)]
struct Head {
    id: String,
    recorded_at: String,
    mode: String,
}

/// The most bytes that are read for them.
const HEAD: u64 = 4 << 10;

impl Filed {
    /// Looks into the sessions' folders. What cannot be read is met again when a trace is written.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let files: Vec<(String, u32, PathBuf)> = entries(folder)
            .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
            .flat_map(|(session, path)| entries(&path).filter_map(move |file| Some((session.clone(), number_of(&file)?, file))))
            .collect();
        let heads: Vec<_> = files.into_par_iter().map(|(session, number, path)| (session, number, head(&path))).collect();
        let mut filed = Self::default();
        for (session, number, head) in heads {
            filed.ids.extend(head.as_ref().map(|head| head.id.clone()));
            filed.sessions.entry(session).or_default().add(number, head);
        }
        filed
    }

    /// Whether another session than its own has this exchange.
    pub(super) fn has_elsewhere(&self, trace: &Trace) -> bool {
        let has_here = self.sessions.get(&trace.session).is_some_and(|session| session.by_id.contains_key(&trace.id));
        !has_here && self.ids.contains(&trace.id)
    }

    /// The number of an exchange in its session: the one that it has, the one after `previous`, or the one after all others.
    ///
    /// # Errors
    /// The trace with this number says that the session is there as somebody else made it, or as the exchange was read otherwise.
    pub(super) fn number(&self, trace: &Trace, previous: u32) -> Result<u32, u32> {
        let next = previous.saturating_add(1);
        let Some(session) = self.sessions.get(&trace.session) else { return Ok(next) };
        if let Some(number) = session.by_id.get(&trace.id) {
            return Ok(*number);
        }
        if let Some(other) = session.by_time.get(&trace.recorded_at) {
            return Err(*other);
        }
        if !session.numbers.contains(&next) {
            return Ok(next);
        }
        let is_import_alone = session.modes.iter().all(|mode| mode.as_ref() == Some(&trace.mode));
        if is_import_alone { Ok(session.last.max(previous).saturating_add(1)) } else { Err(next) }
    }
}

impl FiledSession {
    fn add(&mut self, number: u32, head: Option<Head>) {
        self.numbers.insert(number);
        self.last = self.last.max(number);
        self.modes.insert(head.as_ref().map(|head| head.mode.clone()));
        if let Some(Head { id, recorded_at, .. }) = head {
            self.by_id.insert(id, number);
            self.by_time.insert(recorded_at, number);
        }
    }
}

/// What is in a folder; nothing if it cannot be read, or is none.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The number in a trace's name.
fn number_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".json")?.parse().ok()
}

fn head(path: &Path) -> Option<Head> {
    let mut start = Vec::new();
    open(path).ok()?.take(HEAD).read_to_end(&mut start).ok()?;
    // All of them stand before the request, which is cut off.
    start.truncate(memmem::find(&start, b",\n  \"request\": ")?);
    start.push(b'}');
    serde_json::from_slice(&start).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trace::{path_of, write};

    /// A trace of the session `s`, made so many seconds after a minute's begin.
    fn trace(id: &str, seconds: u32, mode: &str) -> Trace {
        let request = json!({"method": "POST", "path": "/v1/messages", "headers": {}, "body": {}});
        let response = json!({"status": 0, "headers": {}, "events": [], "body": null});
        let timing = json!({"ttft_us": null, "e2e_us": null, "itl_us": null});
        let trace = json!({
            "version": 1, "id": id, "session": "s", "seq": 1, "recorded_at": format!("2026-01-02T03:04:{seconds:02}Z"),
            "client": "c", "mode": mode, "request": request, "response": response, "timing": timing, "outcome": "truncated",
        });
        serde_json::from_value(trace).unwrap()
    }

    /// A folder in which the first exchange has the number 1, the second 2, and so on, in these files.
    fn filed(files: &[&str]) -> Filed {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds) in files.iter().zip(1..) {
            write(&folder.path().join("s").join(name), &trace(name, seconds, "import:har")).unwrap();
        }
        Filed::in_folder(folder.path())
    }

    #[test]
    fn an_exchange_keeps_its_number_and_new_ones_come_behind_all_others() {
        let filed = filed(&["0001.json", "0002.json.zst"]);
        let number = |id: &str, previous: u32| filed.number(&trace(id, 9, "import:har"), previous);
        assert_eq!((number("0002.json.zst", 0), number("0001.json", 7)), (Ok(2), Ok(1)));
        assert_eq!((number("new", 0), number("new", 1), number("new", 2), number("new", 3)), (Ok(3), Ok(3), Ok(3), Ok(4)));
    }

    #[test]
    fn one_that_was_removed_comes_back_to_its_place() {
        let filed = filed(&["0001.json", "0003.json"]);
        assert_eq!(filed.number(&trace("removed", 9, "import:har"), 1), Ok(2));
    }

    #[test]
    fn what_somebody_else_made_is_not_gone_on_with() {
        let filed = filed(&["0001.json", "0002.json"]);
        // The same exchange, read otherwise.
        assert_eq!(filed.number(&trace("new", 2, "import:har"), 0), Err(2));
        assert_eq!(filed.number(&trace("new", 9, "import:otlp"), 0), Err(1));
        let folder = tempfile::tempdir().unwrap();
        write(&path_of(folder.path(), "s", 1), &trace("a", 1, "import:har")).unwrap();
        fs::write(path_of(folder.path(), "s", 2), "").unwrap();
        assert_eq!(Filed::in_folder(folder.path()).number(&trace("new", 9, "import:har"), 0), Err(1));
    }

    #[test]
    fn an_exchange_of_another_session_is_known() {
        let filed = filed(&["0001.json"]);
        let mut elsewhere = trace("0001.json", 1, "import:har");
        assert!(!filed.has_elsewhere(&elsewhere) && !filed.has_elsewhere(&trace("new", 1, "import:har")));
        elsewhere.session = "copy".to_owned();
        assert!(filed.has_elsewhere(&elsewhere));
    }

    #[test]
    fn a_folder_that_is_not_there_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Filed::in_folder(&folder.path().join("none")).number(&trace("a", 1, "import:har"), 0), Ok(1));
    }
}
