//! Importing: from files of any format to traces in their sessions' folders.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::importer::{Found, ImportedExchange, Importer, Passed, START, Source};
use super::{IMPORTERS, importer_of};
use crate::trace::redact::Redactor;
use crate::trace::{self, TraceError, path_of, redact_trace};

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
    /// What some of them lack, and how many.
    pub missing: BTreeMap<String, u32>,
}

/// An import at work: the sessions so far, and what could not be imported.
pub struct Import<'a> {
    out: &'a Path,
    redactor: &'a Redactor,
    credentials: Vec<(String, String)>,
    files: HashSet<PathBuf>,
    ids: HashSet<String>,
    /// By name.
    pub sessions: BTreeMap<String, ImportedSession>,
    /// What is in the files and no trace, by file.
    pub passed: Vec<(PathBuf, Passed)>,
    /// How much else is in the files: requests to other servers, for example.
    pub unrelated: usize,
    /// The files that were named or found again.
    pub repeated_files: Vec<PathBuf>,
    /// How many exchanges came again, by the file in which they did.
    pub repeated: BTreeMap<PathBuf, usize>,
    /// How the files are read, each once.
    pub importers: Vec<&'static dyn Importer>,
}

impl<'a> Import<'a> {
    /// An import into a folder of traces.
    pub fn into(out: &'a Path, redactor: &'a Redactor) -> Self {
        Self {
            out,
            redactor,
            credentials: Vec::new(),
            files: HashSet::new(),
            ids: HashSet::new(),
            sessions: BTreeMap::new(),
            passed: Vec::new(),
            unrelated: 0,
            repeated_files: Vec::new(),
            repeated: BTreeMap::new(),
            importers: Vec::new(),
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
        let mut reader = open(path)?;
        let start = reader.fill_buf().map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
        let recognized = from.or_else(|| importer_of(start));
        let importer = recognized.ok_or_else(|| ImportError::Unknown { path: path.to_owned() })?;
        if self.importers.iter().all(|known| known.name() != importer.name()) {
            self.importers.push(importer);
        }
        self.read(importer, path, &mut reader)?;
        for companion in importer.companions(path)? {
            let read = open(&companion).and_then(|mut reader| self.read(importer, &companion, &mut reader));
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

    fn read(&mut self, importer: &dyn Importer, path: &Path, reader: &mut dyn BufRead) -> Result<(), ImportError> {
        let file = path.canonicalize().map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
        if !self.files.insert(file) {
            self.repeated_files.push(path.to_owned());
            return Ok(());
        }
        let read = importer.import(Source { path, reader }, &mut |found| match found {
            Found::Exchange(exchange) if !self.ids.insert(exchange.trace.id.clone()) => {
                *self.repeated.entry(path.to_owned()).or_default() += 1;
                Ok(())
            }
            Found::Exchange(exchange) => self.write(*exchange),
            Found::Unrelated => {
                self.unrelated += 1;
                Ok(())
            }
            Found::Passed(passed) => {
                self.passed.push((path.to_owned(), passed));
                Ok(())
            }
        });
        read.map_err(|error| match error {
            ImportError::Read(source) => ImportError::Io { path: path.to_owned(), source },
            other => other,
        })
    }

    fn write(&mut self, ImportedExchange { mut trace, missing }: ImportedExchange) -> Result<(), ImportError> {
        let session = self.sessions.entry(trace.session.clone()).or_default();
        trace.seq = session.exchanges + 1;
        // The other tool may have kept the client's credentials; they may stand in texts too.
        let headers = trace.request.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let known = self.credentials.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let redactor = self.redactor.for_request(headers.chain(known), &trace.request.path);
        redact_trace(&mut trace, &redactor);
        let path = path_of(self.out, &trace.session, trace.seq);
        // An import that is repeated, perhaps of a session that went on since, writes the same again.
        if path.exists() && trace::read(&path)?.id != trace.id {
            return Err(ImportError::Occupied { path });
        }
        trace::write(&path, &trace)?;
        session.exchanges += 1;
        for lack in missing {
            *session.missing.entry(lack).or_default() += 1;
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<BufReader<File>, ImportError> {
    let file = File::open(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(START, file))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

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
        assert_eq!(import.repeated.into_iter().collect::<Vec<_>>(), [(at("copy.har"), 1)]);
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
