//! What is in the folder of an import already, so that an import goes on where another one, or a recorder, has ended.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use super::filed_head::head;
use super::import_error::ImportError;
use crate::files::{make_and_lock_folder, missing_folders, remove_empty_folders};
use crate::trace::redact::Redactor;
use crate::trace::{CanonicalRequest, Digest, Outline, Trace, is_trace_name, outlines, read, seq_of};

/// How many sessions are open at once: each has a descriptor.
const AT_ONCE: usize = 64;

/// The exchanges that a folder has, by their sessions.
pub(super) struct Filed {
    folder: PathBuf,
    /// The sessions with an exchange of this id, from the beginning.
    ids: HashMap<String, Vec<String>>,
    /// The ids of the exchanges that were given a number.
    placed: HashSet<String>,
    open: HashMap<String, OpenSession>,
}

/// Where an exchange has its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is there already.
    There,
    /// In its session, with this number.
    Number(u32),
}

/// A session's folder, in which nobody else writes.
struct OpenSession {
    _lock: File,
    /// The folders that were made for it. They go again if nothing is written.
    made: Vec<PathBuf>,
    /// All that are taken.
    numbers: HashSet<u32>,
    last: u32,
    /// By the exchange's id.
    by_id: HashMap<String, u32>,
    /// Those whose files are compressed: nobody writes them again.
    compressed: HashMap<u32, PathBuf>,
    /// The files by the time of the request.
    times: HashMap<String, Vec<PathBuf>>,
    /// Who has recorded each trace.
    modes: Vec<(PathBuf, String)>,
    /// By mode: the marks of the traces that other modes wrote, once they were asked for.
    others: HashMap<String, HashSet<Mark>>,
}

/// What an exchange is known by, whoever has recorded it. Times are no help: each tool takes them in another place.
#[derive(PartialEq, Eq, Hash)]
enum Mark {
    /// The id that the server gave its answer. Some servers give few: the number of messages asked tells more.
    Answer { id: String, messages: usize },
    /// If no answer has one, what was asked, and the answer's status.
    Request { asked: Digest, status: u16 },
}

impl Filed {
    /// Looks into the sessions' folders. What cannot be read is met again when a trace is written.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let files: Vec<(String, PathBuf)> = entries(folder)
            .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
            .flat_map(|(session, path)| entries(&path).filter(|file| is_trace(file)).map(move |file| (session.clone(), file)))
            .collect();
        let heads: Vec<_> = files.into_par_iter().filter_map(|(session, file)| Some((session, head(&file)?))).collect();
        let mut ids: HashMap<String, Vec<String>> = HashMap::new();
        for (session, head) in heads {
            ids.entry(head.id).or_default().push(session);
        }
        Self { folder: folder.to_owned(), ids, placed: HashSet::new(), open: HashMap::new() }
    }

    /// Where an exchange has its place, if its session goes on behind the number `previous`. One whose number is not known has
    /// the number 0. Opens the session.
    ///
    /// # Errors
    /// The session's folder cannot be made or locked, a recorder writes to it, or the exchange's own number is another one's.
    pub(super) fn place(&mut self, trace: &Trace, previous: u32, redactor: &Redactor) -> Result<Place, ImportError> {
        if self.ids.get(&trace.id).is_some_and(|sessions| !sessions.contains(&trace.session)) {
            return Ok(Place::There);
        }
        if !self.open.contains_key(&trace.session) {
            let session = OpenSession::of(&self.folder.join(&trace.session), &self.placed)?;
            self.open.insert(trace.session.clone(), session);
        }
        // It was opened just now, or before.
        let Some(session) = self.open.get_mut(&trace.session) else { return Ok(Place::There) };
        let place = session.place(trace, previous, redactor)?;
        if place != Place::There {
            self.placed.insert(trace.id.clone());
        }
        Ok(place)
    }

    /// Whether a session cannot be opened before [`Filed::close`].
    pub(super) fn is_full_for(&self, session: &str) -> bool {
        self.open.len() >= AT_ONCE && !self.open.contains_key(session)
    }

    /// Closes all sessions. What was written to them since must be on the disk: it is met there.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }
}

impl OpenSession {
    /// `placed`: the ids that this import has given a number. They are no earlier exchanges.
    fn of(folder: &Path, placed: &HashSet<String>) -> Result<Self, ImportError> {
        let refuse = |source| ImportError::Unwritable { path: folder.to_owned(), source };
        let made = missing_folders(folder);
        let lock = make_and_lock_folder(folder).map_err(refuse)?;
        let lock = lock.ok_or_else(|| ImportError::InUse { path: folder.to_owned() })?;
        let files: Vec<PathBuf> = entries(folder).collect();
        // Partial files too: each is a trace to be.
        let numbers: HashSet<u32> = files.iter().filter_map(|file| seq_of(file)).collect();
        let mut session = Self {
            _lock: lock,
            made,
            last: numbers.iter().copied().max().unwrap_or_default(),
            numbers,
            by_id: HashMap::new(),
            compressed: HashMap::new(),
            times: HashMap::new(),
            modes: Vec::new(),
            others: HashMap::new(),
        };
        let heads: Vec<_> = files.into_par_iter().filter(|file| is_trace(file)).map(|file| (head(&file), file)).collect();
        for (head, file) in heads {
            let (Some(head), Some(number)) = (head, seq_of(&file)) else { continue };
            if !placed.contains(&head.id) {
                session.by_id.insert(head.id, number);
                session.times.entry(head.recorded_at).or_default().push(file.clone());
                if file.extension().is_some_and(|ending| ending == "zst") {
                    session.compressed.insert(number, file.clone());
                }
                session.modes.push((file, head.mode));
            }
        }
        Ok(session)
    }

    fn place(&mut self, trace: &Trace, previous: u32, redactor: &Redactor) -> Result<Place, ImportError> {
        if let Some(number) = self.by_id.get(&trace.id) {
            return Ok(if self.compressed.contains_key(number) { Place::There } else { Place::Number(*number) });
        }
        let others = self.others.entry(trace.mode.clone()).or_insert_with(|| {
            let others = self.modes.iter().filter(|(_, mode)| *mode != trace.mode);
            marks_of(&others.map(|(file, _)| file.clone()).collect::<Vec<_>>())
        });
        // The same as it was read otherwise before, or as another tool or the recorder has it.
        let of_its_time = self.times.get(&trace.recorded_at).into_iter().flatten();
        let is_there = of_its_time.into_iter().any(|file| holds_request_of(file, trace, redactor))
            || (!others.is_empty() && others.contains(&Mark::of(trace)));
        let next = previous.saturating_add(1);
        Ok(match trace.seq {
            _ if is_there => Place::There,
            0 if others.is_empty() && !self.numbers.contains(&next) => Place::Number(next),
            0 => Place::Number(self.last.max(previous).saturating_add(1)),
            // An exchange that was exported has its number.
            own => match self.compressed.get(&own) {
                Some(path) => return Err(ImportError::Occupied { path: path.clone() }),
                None => Place::Number(own),
            },
        })
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        remove_empty_folders(&self.made);
    }
}

impl Mark {
    fn of(trace: &Trace) -> Self {
        let asked = |list: &str| trace.request.body[list].as_array().map_or(0, Vec::len);
        Self::of_answer(trace, asked("messages") + asked("input")).unwrap_or_else(|| Self::Request {
            asked: CanonicalRequest::of(trace.request.body.clone()).key(),
            status: trace.response.status,
        })
    }

    fn of_answer(trace: &Trace, messages: usize) -> Option<Self> {
        let id = trace.response.body["id"].as_str().filter(|id| !id.is_empty())?;
        Some(Self::Answer { id: id.to_owned(), messages })
    }
}

/// Whether a file has the request of this trace, which is not redacted yet. Clients ask more than one thing at a time.
fn holds_request_of(file: &Path, trace: &Trace, redactor: &Redactor) -> bool {
    let Ok(there) = read(file) else { return false };
    let mut body = trace.request.body.clone();
    redactor.json(&mut body);
    let key = |body: Value| CanonicalRequest::of(body).key();
    there.request.path == redactor.path(&trace.request.path) && key(there.request.body) == key(body)
}

/// The marks of these traces' exchanges. One that cannot be read is none's.
fn marks_of(files: &[PathBuf]) -> HashSet<Mark> {
    let mark = |file: &Path, outline: Result<Outline<()>, _>| {
        let outline = outline.ok()?;
        let messages = outline.items("messages").len() + outline.items("input").len();
        Mark::of_answer(&outline.trace, messages).or_else(|| Some(Mark::of(&read(file).ok()?)))
    };
    outlines(files, |_, _, _| Ok(()), mark).into_iter().flatten().collect()
}

/// What is in a folder; nothing if it cannot be read, or is none.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn is_trace(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_trace_name(&name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::files::lock_folder;
    use crate::trace::{path_of, write};

    /// A trace of the session `s`, made so many seconds after a minute's begin.
    fn trace(id: &str, seconds: u32, mode: &str) -> Trace {
        let request = json!({"method": "POST", "path": "/v1/messages", "headers": {}, "body": {"model": id}});
        let response = json!({"status": 0, "headers": {}, "events": [], "body": null});
        let timing = json!({"ttft_us": null, "e2e_us": null, "itl_us": null});
        let trace = json!({
            "version": 1, "id": id, "session": "s", "seq": 0, "recorded_at": format!("2026-01-02T03:04:{seconds:02}Z"),
            "client": "c", "mode": mode, "request": request, "response": response, "timing": timing, "outcome": "truncated",
        });
        serde_json::from_value(trace).unwrap()
    }

    /// The same with an answer of this id to so many messages.
    fn answered(id: &str, seconds: u32, mode: &str, answer: &str, messages: usize) -> Trace {
        let mut trace = trace(id, seconds, mode);
        trace.request.body["messages"] = vec![json!({"role": "user", "content": "Hi"}); messages].into();
        trace.response.body = json!({ "id": answer });
        trace
    }

    /// A folder in which the first exchange is that of the first second, the second that of the second, in these files.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds) in files.iter().zip(1..) {
            write(&folder.path().join("s").join(name), &trace(name, seconds, "import:har")).unwrap();
        }
        folder
    }

    fn place(folder: &tempfile::TempDir, trace: &Trace, previous: u32) -> Place {
        Filed::in_folder(folder.path()).place(trace, previous, &Redactor::default()).unwrap()
    }

    #[test]
    fn an_exchange_keeps_its_number_and_new_ones_come_behind_all_others() {
        let folder = folder(&["0001.json", "0002.json.zst"]);
        let number = |id: &str, previous: u32| place(&folder, &trace(id, 9, "import:har"), previous);
        for (id, previous, expected) in [("0001.json", 7, 1), ("new", 0, 3), ("new", 1, 3), ("new", 2, 3), ("new", 3, 4)] {
            assert_eq!(number(id, previous), Place::Number(expected), "{id} {previous}");
        }
        // Nothing is written beside a compressed file.
        assert_eq!(number("0002.json.zst", 0), Place::There);
        let mut own = trace("own", 9, "import:har");
        own.seq = 2;
        let refused = Filed::in_folder(folder.path()).place(&own, 0, &Redactor::default()).unwrap_err();
        assert!(matches!(refused, ImportError::Occupied { .. }), "{refused}");
        // A partial file has its number, too.
        fs::write(folder.path().join("s/0007.json.partial"), "").unwrap();
        assert_eq!(number("new", 0), Place::Number(8));
    }

    #[test]
    fn one_that_was_removed_comes_back_to_its_place() {
        let folder = folder(&["0001.json", "0003.json"]);
        assert_eq!(place(&folder, &trace("removed", 9, "import:har"), 1), Place::Number(2));
    }

    #[test]
    fn what_a_recorder_has_is_there_and_what_it_has_not_comes_behind() {
        let folder = tempfile::tempdir().unwrap();
        write(&path_of(folder.path(), "s", 1), &answered("a", 1, "anthropic", "msg_1", 1)).unwrap();
        let mut failed = trace("b", 2, "anthropic");
        failed.response.status = 529;
        write(&path_of(folder.path(), "s", 2), &failed).unwrap();
        let there = |trace: &Trace| place(&folder, trace, 0) == Place::There;
        assert!(there(&answered("x", 9, "import:har", "msg_1", 1)));
        (failed.id, failed.mode, failed.recorded_at) =
            ("y".to_owned(), "import:har".to_owned(), "2027-01-01T00:00:00Z".to_owned());
        assert!(there(&failed));
        failed.response.status = 0;
        for other in [answered("x", 9, "import:har", "msg_1", 3), answered("x", 9, "import:har", "msg_2", 1), failed] {
            assert_eq!(place(&folder, &other, 0), Place::Number(3), "{:?}", other.response);
        }
        // Read otherwise by an earlier version, which is told by its time and what was asked.
        let mut otherwise = answered("a", 1, "anthropic", "msg_3", 1);
        otherwise.id = "z".to_owned();
        assert!(there(&otherwise));
        // Asked at the same time.
        assert_eq!(place(&folder, &trace("z", 1, "import:har"), 0), Place::Number(3));
        // Of one tool, what it names apart is two.
        assert_eq!(place(&folder, &answered("x", 9, "anthropic", "msg_1", 1), 0), Place::Number(3));
    }

    #[test]
    fn an_exchange_of_another_session_is_there() {
        let folder = folder(&["0001.json"]);
        let mut elsewhere = trace("0001.json", 1, "import:har");
        elsewhere.session = "copy".to_owned();
        assert_eq!(place(&folder, &elsewhere, 0), Place::There);
        assert!(!folder.path().join("copy").exists());
    }

    #[test]
    fn a_session_in_which_a_recorder_writes_is_refused_until_it_has_ended() {
        let folder = folder(&["0001.json"]);
        let lock = lock_folder(&folder.path().join("s")).unwrap();
        let new = trace("new", 9, "import:har");
        let redactor = Redactor::default();
        let error = Filed::in_folder(folder.path()).place(&new, 0, &redactor).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[folder]");
        insta::assert_snapshot!(error, @"[folder]/s: a recorder or another import writes to it; choose another folder with --out, or wait until that has ended");
        drop(lock);
        let mut filed = Filed::in_folder(folder.path());
        assert_eq!(filed.place(&new, 0, &redactor).unwrap(), Place::Number(2));
        assert!(lock_folder(&folder.path().join("s")).unwrap().is_none());
        filed.close();
        assert!(lock_folder(&folder.path().join("s")).unwrap().is_some());
    }

    #[test]
    fn the_folders_of_a_session_without_exchanges_go_again() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/traces");
        let mut filed = Filed::in_folder(&out);
        let mut place = |session: &str| {
            let mut trace = trace(session, 1, "import:har");
            trace.session = session.to_owned();
            assert_eq!(filed.place(&trace, 0, &Redactor::default()).unwrap(), Place::Number(1));
            trace
        };
        let (written, _passed_over) = (place("a"), place("b"));
        write(&path_of(&out, "a", 1), &written).unwrap();
        filed.close();
        assert!(out.join("a/0001.json").exists() && !out.join("b").exists());
        let (mut filed, new) = (Filed::in_folder(&folder.path().join("newer/traces")), trace("x", 1, "import:har"));
        filed.place(&new, 0, &Redactor::default()).unwrap();
        drop(filed);
        assert!(!folder.path().join("newer").exists());
    }

    #[test]
    fn a_session_folder_that_is_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("out")).unwrap();
        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", folder.path().join("out/s")).unwrap();
        let out = folder.path().join("out");
        let new = trace("new", 1, "import:har");
        let error = Filed::in_folder(&out).place(&new, 0, &Redactor::default()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[folder]");
        insta::assert_snapshot!(error, @"cannot write to [folder]/out/s: a symbolic link in the place of a folder; check the folder and its permissions");
    }

    #[test]
    fn what_the_import_itself_has_written_is_no_reason_to_pass_another_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut filed = Filed::in_folder(folder.path());
        let (one, other) = (trace("one", 1, "import:har"), answered("other", 1, "import:otlp", "msg_1", 1));
        assert_eq!(filed.place(&one, 0, &Redactor::default()).unwrap(), Place::Number(1));
        write(&path_of(folder.path(), "s", 1), &one).unwrap();
        filed.close();
        assert_eq!(filed.place(&other, 1, &Redactor::default()).unwrap(), Place::Number(2));
        for nth in 1..AT_ONCE {
            let mut elsewhere = trace(&nth.to_string(), 1, "import:har");
            elsewhere.session = format!("s{nth}");
            assert!(!filed.is_full_for(&elsewhere.session));
            filed.place(&elsewhere, 0, &Redactor::default()).unwrap();
        }
        assert!(filed.is_full_for("another") && !filed.is_full_for("s"));
    }

    #[test]
    fn marks_are_the_same_of_a_trace_and_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let traces: [Trace; 3] = [answered("a", 1, "m", "msg_1", 2), answered("b", 2, "m", "", 1), trace("c", 3, "m")];
        let files = traces.each_ref().map(|trace| {
            let file = folder.path().join(format!("{}.json", trace.id));
            write(&file, trace).unwrap();
            file
        });
        let marks = marks_of(&files);
        assert!(traces.iter().all(|trace| marks.contains(&Mark::of(trace))) && marks.len() == 3);
    }

    #[test]
    fn a_name_of_a_client_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        let mut long = trace("a", 1, "import:har");
        long.client = "c".repeat(10_000);
        write(&path_of(folder.path(), "s", 1), &long).unwrap();
        assert_eq!(place(&folder, &long, 4), Place::Number(1));
    }

    #[test]
    fn what_is_redacted_in_its_file_is_still_the_same_request() {
        let folder = tempfile::tempdir().unwrap();
        let redactor = Redactor::default().for_request([("x-api-key", "correct-horse")], "");
        let mut asked = answered("a", 1, "import:har", "msg_1", 1);
        asked.request.body["system"] = json!("it is correct-horse");
        let mut there = asked.clone();
        redactor.json(&mut there.request.body);
        write(&path_of(folder.path(), "s", 1), &there).unwrap();
        asked.id = "otherwise".to_owned();
        assert_eq!(Filed::in_folder(folder.path()).place(&asked, 0, &redactor).unwrap(), Place::There);
    }
}
