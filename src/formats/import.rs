//! Importing: from files of any format to traces in their sessions' folders.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use super::filed::{Filed, Place};
use super::import_error::ImportError;
use super::importer::{Found, ImportedExchange, Importer, Passed, START, Source};
use super::open::open;
use super::writers::{Ready, Writers, Written};
use super::{imported_mode, importer_of, session_name};
use crate::trace::redact::Redactor;
use crate::trace::{SharedRedactor, Trace, path_of};

/// What became of one session.
#[derive(Debug, Default)]
pub struct ImportedSession {
    /// How many traces were written.
    pub exchanges: u32,
    /// The number of the last.
    last: u32,
    /// What some of them lack, and how many.
    pub missing: BTreeMap<String, u32>,
}

/// An import at work: the sessions so far, and what could not be imported.
pub struct Import<'a> {
    out: &'a Path,
    /// What is in `out` from the beginning.
    filed: Filed,
    redactor: &'a Redactor,
    /// All that came so far: what one request was allowed with, others may quote.
    credentials: BTreeSet<String>,
    /// The redactor that knows them, once it was needed.
    shared: Option<Arc<SharedRedactor>>,
    writers: Writers,
    /// Why traces could not be written, by the order of the traces.
    failed: BTreeMap<usize, ImportError>,
    files: HashSet<PathBuf>,
    ids: HashSet<String>,
    /// The files of the traces taken: two exchanges of one session may have the same number.
    claimed: HashSet<PathBuf>,
    /// By name.
    pub sessions: BTreeMap<String, ImportedSession>,
    /// What is in the files and no trace, by file.
    pub passed: Vec<(PathBuf, Passed)>,
    /// How much else is in the files: requests to other servers, for example.
    pub unrelated: usize,
    /// The files that were named or found again.
    pub repeated_files: Vec<PathBuf>,
    /// How many exchanges came again, or are there already, by the file in which they came.
    pub repeated: BTreeMap<PathBuf, usize>,
    /// The files that hold nothing at all.
    pub empty: Vec<PathBuf>,
    /// The formats, each once, whose exchanges lack what their format does not hold.
    pub lacking: Vec<&'static dyn Importer>,
}

impl<'a> Import<'a> {
    /// An import into a folder of traces.
    pub fn into(out: &'a Path, redactor: &'a Redactor) -> Self {
        Self {
            out,
            filed: Filed::in_folder(out),
            redactor,
            credentials: BTreeSet::new(),
            shared: None,
            writers: Writers::new(),
            failed: BTreeMap::new(),
            files: HashSet::new(),
            ids: HashSet::new(),
            claimed: HashSet::new(),
            sessions: BTreeMap::new(),
            passed: Vec::new(),
            unrelated: 0,
            repeated_files: Vec::new(),
            repeated: BTreeMap::new(),
            empty: Vec::new(),
            lacking: Vec::new(),
        }
    }

    /// The same, where the client is known to have sent these headers: what is secret in them is redacted wherever it stands.
    #[must_use]
    pub fn with_credentials(mut self, headers: Vec<(String, String)>) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.credentials.extend(Redactor::credentials_in(headers, ""));
        self
    }

    /// Imports a file and those that belong to it. What belongs to it and cannot be read is passed over: it is no reason to lose
    /// the rest.
    ///
    /// # Errors
    /// The file or a folder that belongs to it cannot be read, its format is not known, or a trace cannot be written.
    pub fn file(&mut self, path: &Path, from: Option<&'static dyn Importer>) -> Result<(), ImportError> {
        if path.is_dir() {
            return Err(ImportError::Folder { path: path.to_owned() });
        }
        let unreadable = |source| ImportError::Io { path: path.to_owned(), source };
        let mut reader = open(path).map_err(unreadable)?;
        let mut start = Vec::new();
        (&mut reader).take(START as u64).read_to_end(&mut start).map_err(unreadable)?;
        let recognized = from.or_else(|| importer_of(&start));
        let importer = recognized.ok_or_else(|| ImportError::Unknown { path: path.to_owned() })?;
        self.read(importer, path, &mut start.chain(reader))?;
        for companion in importer.companions(path)? {
            let opened = open(&companion).map_err(|source| ImportError::Io { path: companion.clone(), source });
            let read = opened.and_then(|mut reader| self.read(importer, &companion, &mut reader));
            let reason = match read {
                Ok(()) => continue,
                Err(ImportError::Malformed { reason, .. }) => reason,
                Err(ImportError::Io { source, .. }) => format!("cannot be read: {source}"),
                Err(other) => return Err(other),
            };
            self.passed.push((companion, Passed { place: "the whole file".to_owned(), reason }));
        }
        Ok(())
    }

    fn read(&mut self, importer: &'static dyn Importer, path: &Path, reader: &mut dyn BufRead) -> Result<(), ImportError> {
        // A pipe has no other name.
        let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.files.insert(file) {
            self.repeated_files.push(path.to_owned());
            return Ok(());
        }
        let mut is_empty = true;
        let read = importer.import(Source { path, reader }, &mut |found| {
            is_empty = false;
            self.take(importer, path, found)
        });
        if is_empty && read.is_ok() {
            self.empty.push(path.to_owned());
        }
        // What was found before an error is written, too.
        let written = self.end_writing(path);
        read.and(written).map_err(|error| match error {
            ImportError::Read(source) => ImportError::Io { path: path.to_owned(), source },
            other => other,
        })
    }

    fn take(&mut self, importer: &'static dyn Importer, path: &Path, found: Found) -> Result<(), ImportError> {
        match found {
            Found::Exchange(exchange) => {
                let is_new = self.ids.insert(exchange.trace.id.clone());
                let place = exchange.place.clone();
                let ready = match if is_new { self.prepare(path, *exchange) } else { Ok(None) } {
                    Ok(Some(ready)) => ready,
                    Ok(None) => {
                        *self.repeated.entry(path.to_owned()).or_default() += 1;
                        return Ok(());
                    }
                    Err(error) => return self.pass_over(path, place, error),
                };
                // What comes back from another format than the recorder's has the mode that it had.
                let is_lacking = ready.trace.mode == imported_mode(importer);
                if is_lacking && self.lacking.iter().all(|known| known.name() != importer.name()) {
                    self.lacking.push(importer);
                }
                let ended = self.writers.begin(ready);
                ended.into_iter().for_each(|written| self.note(path, written));
                if self.failed.is_empty() { Ok(()) } else { self.end_writing(path) }
            }
            Found::Unrelated => {
                self.unrelated += 1;
                Ok(())
            }
            Found::Passed(passed) => {
                self.passed.push((path.to_owned(), passed));
                Ok(())
            }
        }
    }

    /// What is to be written of an exchange; `None` if it is there already.
    fn prepare(&mut self, file: &Path, exchange: ImportedExchange) -> Result<Option<Ready>, ImportError> {
        let ImportedExchange { mut trace, place, credentials, missing } = exchange;
        let redactor = self.redactor_for(&trace, credentials);
        if let Cow::Owned(name) = redactor.redactor().text(&trace.session) {
            trace.session = session_name(&name);
        }
        if self.filed.is_full_for(&trace.session) {
            self.end_writing(file)?;
            self.filed.close();
        }
        let previous = self.sessions.get(&trace.session).map_or(0, |session| session.last);
        let Place::Number(number) = self.filed.place(&trace, previous, redactor.redactor())? else { return Ok(None) };
        trace.seq = number;
        let session = self.sessions.entry(trace.session.clone()).or_default();
        session.last = session.last.max(trace.seq);
        let path = path_of(self.out, &trace.session, trace.seq);
        if !self.claimed.insert(path.clone()) {
            return Err(ImportError::Occupied { path });
        }
        Ok(Some(Ready { path, trace, place, missing, redactor }))
    }

    /// The other tool may have kept the client's credentials; they may stand in texts too.
    fn redactor_for(&mut self, trace: &Trace, of_address: Vec<String>) -> Arc<SharedRedactor> {
        let headers = trace.request.headers.iter().flat_map(|(name, value)| {
            let values = value.as_array().map_or(slice::from_ref(value), Vec::as_slice);
            values.iter().filter_map(move |value| Some((name.as_str(), value.as_str()?)))
        });
        let known = self.credentials.len();
        self.credentials.extend(Redactor::credentials_in(headers, &trace.request.path));
        self.credentials.extend(of_address);
        if self.credentials.len() > known {
            self.shared = None;
        }
        let knowing = |all: &BTreeSet<String>| self.redactor.knowing(&all.iter().cloned().collect::<Vec<_>>());
        self.shared.get_or_insert_with(|| Arc::new(SharedRedactor::new(knowing(&self.credentials)))).clone()
    }

    /// Goes on behind an exchange that cannot be written where it belongs, or not as a trace.
    ///
    /// # Errors
    /// It is another error: the next exchange would meet it too.
    fn pass_over(&mut self, file: &Path, place: String, error: ImportError) -> Result<(), ImportError> {
        if !matches!(error, ImportError::Occupied { .. } | ImportError::Beyond) {
            return Err(error);
        }
        self.passed.push((file.to_owned(), Passed { place, reason: error.to_string() }));
        Ok(())
    }

    fn note(&mut self, file: &Path, Written { nth, session, place, missing, result }: Written) {
        match result.or_else(|error| self.pass_over(file, place, error)) {
            Ok(()) => {
                let session = self.sessions.entry(session).or_default();
                session.exchanges += 1;
                missing.into_iter().for_each(|lack| *session.missing.entry(lack).or_default() += 1);
            }
            Err(error) => drop(self.failed.insert(nth, error)),
        }
    }

    /// Waits for all that is being written.
    ///
    /// # Errors
    /// A trace could not be written: of several, the first.
    fn end_writing(&mut self, file: &Path) -> Result<(), ImportError> {
        while let Some(written) = self.writers.wait() {
            self.note(file, written);
        }
        let failed = std::mem::take(&mut self.failed);
        failed.into_values().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::trace;

    /// An archive with a request of this text.
    fn archive(text: &str) -> String {
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]});
        let request = json!({"method": "POST", "url": "http://h/v1/messages", "postData": {"text": body.to_string()}});
        let entry = json!({"startedDateTime": "2026-01-02T03:04:05Z", "time": 1, "request": request, "response": {"status": 0}});
        json!({"log": {"version": "1.2", "creator": {}, "entries": [entry]}}).to_string()
    }

    #[test]
    fn what_is_named_twice_is_imported_once_and_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.har"), archive("Hi")).unwrap();
        fs::copy(at("a.har"), at("copy.har")).unwrap();
        let (out, redactor) = (at("traces"), Redactor::default());
        let mut import = Import::into(&out, &redactor);
        for name in ["a.har", "./a.har", "copy.har"] {
            import.file(&at(name), None).unwrap();
        }
        assert_eq!(import.sessions.values().map(|session| session.exchanges).collect::<Vec<_>>(), [1]);
        assert_eq!(import.repeated_files, [at("./a.har")]);
        assert_eq!(import.lacking.len(), 1);
        assert_eq!(import.repeated.into_iter().collect::<Vec<_>>(), [(at("copy.har"), 1)]);
    }

    #[test]
    fn an_exchange_is_the_same_wherever_it_stands_in_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let [one, both] = ["one.har", "both.har"].map(|name| folder.path().join(name));
        let other: Value = serde_json::from_str(&archive("Before")).unwrap();
        let mut longer: Value = serde_json::from_str(&archive("Hi")).unwrap();
        longer["log"]["entries"].as_array_mut().unwrap().insert(0, other["log"]["entries"][0].clone());
        fs::write(&one, archive("Hi")).unwrap();
        fs::write(&both, longer.to_string()).unwrap();
        let (out, redactor) = (folder.path().join("traces"), Redactor::default());
        let mut import = Import::into(&out, &redactor);
        import.file(&one, None).unwrap();
        import.file(&both, None).unwrap();
        assert_eq!(import.sessions.values().map(|session| session.exchanges).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(import.repeated.into_iter().collect::<Vec<_>>(), [(both, 1)]);
    }

    #[test]
    fn two_exchanges_of_one_number_are_refused_and_the_first_is_kept() {
        for number in [1, u32::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let (file, out) = (folder.path().join("a.har"), folder.path().join("traces"));
            let entry = |text: &str| {
                let mut archive: Value = serde_json::from_str(&archive(text)).unwrap();
                archive["log"]["entries"][0].take()
            };
            let mut entries = [entry("Hi"), entry("Bye")];
            let own = |id: &str, seq: u32| {
                json!({
                    "id": id, "session": "s", "seq": seq, "client": "c", "mode": "m", "at_us": [], "timing": {},
                    "outcome": "complete",
                })
            };
            entries[0]["_anyclaude"] = own("a", number);
            // 0: the number after the last.
            entries[1]["_anyclaude"] = own("b", if number == 1 { 1 } else { 0 });
            // What is behind it comes.
            let mut behind = entry("Later");
            behind["startedDateTime"] = "2026-01-02T03:05:05Z".into();
            let entries = [&entries[..], &[behind]].concat();
            fs::write(&file, json!({"log": {"version": "1.2", "creator": {}, "entries": entries}}).to_string()).unwrap();
            let redactor = Redactor::default();
            let mut import = Import::into(&out, &redactor);
            import.file(&file, None).unwrap();
            let places: Vec<_> = import.passed.iter().map(|(_, passed)| passed.place.as_str()).collect();
            assert_eq!(places, ["entry 2"]);
            let kept = trace::read(&path_of(&out, "s", number)).unwrap();
            assert_eq!(kept.request.body["messages"][0]["content"], "Hi");
            assert_eq!(import.sessions["a"].exchanges, 1);
        }
    }

    #[test]
    fn an_archive_without_entries_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.har");
        fs::write(&file, json!({"log": {"version": "1.2", "creator": {}, "entries": []}}).to_string()).unwrap();
        let (out, redactor) = (folder.path().join("traces"), Redactor::default());
        let mut import = Import::into(&out, &redactor);
        import.file(&file, None).unwrap();
        assert_eq!((import.empty, import.sessions.len()), (vec![file], 0));
        assert!(!out.exists());
    }

    #[test]
    fn known_credentials_are_redacted_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.har");
        fs::write(&file, archive("it is correct-horse, says the Team")).unwrap();
        let (out, redactor) = (folder.path().join("traces"), Redactor::default());
        let headers = [("x-api-key", "correct-horse"), ("x-group", "the Team")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Import::into(&out, &redactor).with_credentials(headers).file(&file, None).unwrap();
        let trace = trace::read(&path_of(&out, "a", 1)).unwrap();
        let text: &Value = &trace.request.body["messages"][0]["content"];
        assert_eq!(text, "it is [redacted], says the Team");
    }

    #[test]
    fn a_folder_is_told_from_a_file() {
        let redactor = Redactor::default();
        let error = Import::into(Path::new("traces"), &redactor).file(Path::new("src"), None).unwrap_err();
        assert_eq!(error.to_string(), "src: a folder; name its files, as in src/*.jsonl");
    }

    #[test]
    fn what_any_request_was_allowed_with_is_redacted_in_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.har");
        let entry = |second: u32, url: &str, headers: Value| {
            let mut archive: Value =
                serde_json::from_str(&archive("first-secret second-secret third%secret 4th-secret")).unwrap();
            let mut entry = archive["log"]["entries"][0].take();
            entry["startedDateTime"] = format!("2026-01-02T03:04:0{second}Z").into();
            entry["request"]["url"] = url.into();
            entry["request"]["headers"] = headers;
            entry
        };
        let header = |value: &str| json!({"name": "x-api-key", "value": value});
        let twice = json!([header("first-secret"), header("second-secret")]);
        let entries = [
            entry(1, "http://h/v1/messages", twice),
            entry(2, "http://me:third%25secret@h/v1/messages?api_key=4th-secret", json!([])),
        ];
        fs::write(&file, json!({"log": {"version": "1.2", "creator": {}, "entries": entries}}).to_string()).unwrap();
        let (out, redactor) = (folder.path().join("traces"), Redactor::default());
        Import::into(&out, &redactor).file(&file, None).unwrap();
        let said = [1, 2].map(|number| trace::read(&path_of(&out, "a", number)).unwrap().request.body["messages"][0].take());
        assert_eq!(said[0]["content"], "[redacted] [redacted] third%secret 4th-secret");
        assert_eq!(said[1]["content"], "[redacted] [redacted] [redacted] [redacted]");
    }
}
