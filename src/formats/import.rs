//! Importing: from files of any format to traces in their sessions' folders.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::filed::{Filed, Place};
use super::importer::{Found, ImportedExchange, Importer, Passed, START, Source};
use super::open::open;
use super::writers::{Ready, Writers, Written};
use super::{IMPORTERS, imported_mode, importer_of};
use crate::trace::redact::Redactor;
use crate::trace::{SharedRedactor, Trace, TraceError, path_of};

/// Why an import ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nobody knows this format.
    #[error(
        "{}: no format that anyclaude knows; it reads {}. If it is one of these, say which with --from",
        .path.display(),
        known()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    Unknown { path: PathBuf },
    /// A folder in place of a file.
    #[error("{path}: a folder; name its files, as in {path}/*.jsonl", path = .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Folder { path: PathBuf },
    /// Several folders may be the one with the sessions.
    #[error("{}: more than one folder of Claude Code's; name the file to import", .pattern.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Ambiguous { pattern: PathBuf },
    /// The file is not of the format that it should be.
    #[error("{}: {reason}", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Malformed { path: PathBuf, reason: String },
    /// The file that is open cannot be read on.
    #[error("cannot read on: {0}")]
    Read(#[from] io::Error),
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path and its permissions", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Io { path: PathBuf, source: io::Error },
    /// The session is being recorded, or another import writes to it.
    #[error(
        "{}: a recorder or another import writes to it; choose another folder with --out, or wait until that has ended",
        .path.display()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    InUse { path: PathBuf },
    /// A session's folder cannot be made or locked.
    #[error("cannot write to {}: {source}; check the folder and its permissions", .path.display())]
    #[allow(missing_docs, reason = "the text says what it is")]
    Unwritable { path: PathBuf, source: io::Error },
    /// Where a trace would be written lies another one.
    #[error(
        "{}: another exchange than the one to be imported; choose another folder with --out, or move it away",
        .path.display()
    )]
    #[allow(missing_docs, reason = "the text says what it is")]
    Occupied { path: PathBuf },
    /// A trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

fn known() -> String {
    let known = IMPORTERS.map(|importer| format!("{} ({})", importer.name(), importer.title()));
    known.join(", ")
}

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
    credentials: Vec<(String, String)>,
    /// The redactor of the last exchange, with the credentials that it knows.
    shared: Option<(Vec<String>, Arc<SharedRedactor>)>,
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
            credentials: Vec::new(),
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
        self.credentials = headers;
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
        let file = path.canonicalize().map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
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
        let written = self.end_writing();
        read.and(written).map_err(|error| match error {
            ImportError::Read(source) => ImportError::Io { path: path.to_owned(), source },
            other => other,
        })
    }

    fn take(&mut self, importer: &'static dyn Importer, path: &Path, found: Found) -> Result<(), ImportError> {
        match found {
            Found::Exchange(exchange) => {
                let is_new = self.ids.insert(exchange.trace.id.clone());
                let ready = if is_new { self.prepare(*exchange)? } else { None };
                let Some(ready) = ready else {
                    *self.repeated.entry(path.to_owned()).or_default() += 1;
                    return Ok(());
                };
                // What comes back from another format than the recorder's has the mode that it had.
                let is_lacking = ready.trace.mode == imported_mode(importer);
                if is_lacking && self.lacking.iter().all(|known| known.name() != importer.name()) {
                    self.lacking.push(importer);
                }
                let ended = self.writers.begin(ready);
                ended.into_iter().for_each(|written| self.note(written));
                if self.failed.is_empty() { Ok(()) } else { self.end_writing() }
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
    fn prepare(&mut self, ImportedExchange { mut trace, missing }: ImportedExchange) -> Result<Option<Ready>, ImportError> {
        if self.filed.is_full_for(&trace.session) {
            self.end_writing()?;
            self.filed.close();
        }
        let previous = self.sessions.get(&trace.session).map_or(0, |session| session.last);
        let Place::Number(number) = self.filed.place(&trace, previous)? else { return Ok(None) };
        trace.seq = number;
        let session = self.sessions.entry(trace.session.clone()).or_default();
        session.last = session.last.max(trace.seq);
        let path = path_of(self.out, &trace.session, trace.seq);
        if !self.claimed.insert(path.clone()) {
            return Err(ImportError::Occupied { path });
        }
        let redactor = self.redactor_for(&trace);
        Ok(Some(Ready { path, trace, missing, redactor }))
    }

    /// The other tool may have kept the client's credentials; they may stand in texts too.
    fn redactor_for(&mut self, trace: &Trace) -> Arc<SharedRedactor> {
        let headers = trace.request.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let known = self.credentials.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let credentials = Redactor::credentials_in(headers.chain(known), &trace.request.path);
        match &self.shared {
            Some((same, redactor)) if *same == credentials => redactor.clone(),
            _ => {
                let redactor = Arc::new(SharedRedactor::new(self.redactor.knowing(&credentials)));
                self.shared = Some((credentials, redactor.clone()));
                redactor
            }
        }
    }

    fn note(&mut self, Written { nth, session, missing, result }: Written) {
        match result {
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
    fn end_writing(&mut self) -> Result<(), ImportError> {
        while let Some(written) = self.writers.wait() {
            self.note(written);
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
            fs::write(&file, json!({"log": {"version": "1.2", "creator": {}, "entries": entries}}).to_string()).unwrap();
            let redactor = Redactor::default();
            let mut import = Import::into(&out, &redactor);
            let error = import.file(&file, None).unwrap_err();
            assert!(matches!(error, ImportError::Occupied { .. }), "{error}");
            let kept = trace::read(&path_of(&out, "s", number)).unwrap();
            assert_eq!(kept.request.body["messages"][0]["content"], "Hi");
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
}
