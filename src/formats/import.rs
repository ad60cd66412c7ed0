//! Importing: from files of any format to traces in their sessions' folders.

use std::collections::BTreeMap;
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
    /// By name.
    pub sessions: BTreeMap<String, ImportedSession>,
    /// What is in the files and no trace, by file.
    pub passed: Vec<(PathBuf, Passed)>,
    /// How much else is in the files: requests to other servers, for example.
    pub unrelated: usize,
}

impl<'a> Import<'a> {
    /// An import into a folder of traces.
    pub fn into(out: &'a Path, redactor: &'a Redactor) -> Self {
        Self { out, redactor, sessions: BTreeMap::new(), passed: Vec::new(), unrelated: 0 }
    }

    /// Imports a file and those that belong to it; returns how its format is read. What belongs to it and cannot be read is passed
    /// over: it is no reason to lose the rest.
    ///
    /// # Errors
    /// The file cannot be read, its format is not known, or a trace cannot be written.
    pub fn file(&mut self, path: &Path, from: Option<&'static dyn Importer>) -> Result<&'static dyn Importer, ImportError> {
        let mut reader = open(path)?;
        let start = reader.fill_buf().map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
        let recognized = from.or_else(|| importer_of(start));
        let importer = recognized.ok_or_else(|| ImportError::Unknown { path: path.to_owned() })?;
        self.read(importer, path, &mut reader)?;
        for companion in importer.companions(path) {
            let read = open(&companion).and_then(|mut reader| self.read(importer, &companion, &mut reader));
            let reason = match read {
                Ok(()) => continue,
                Err(ImportError::Malformed { reason, .. }) => reason,
                Err(ImportError::Io { source, .. }) => format!("cannot be read: {source}"),
                Err(other) => return Err(other),
            };
            self.passed.push((companion, Passed { place: "the whole file".to_owned(), reason }));
        }
        Ok(importer)
    }

    fn read(&mut self, importer: &dyn Importer, path: &Path, reader: &mut dyn BufRead) -> Result<(), ImportError> {
        let read = importer.import(Source { path, reader }, &mut |found| match found {
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
        let redactor = self.redactor.for_request(headers, &trace.request.path);
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
