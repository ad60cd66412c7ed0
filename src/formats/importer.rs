//! What every importer gets and gives.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use super::import_error::ImportError;
use crate::trace::Trace;

/// Reads the files of one other tool.
pub trait Importer: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whose files they are, in a few words.
    fn title(&self) -> &'static str;

    /// What none of its exchanges has, because its files do not hold it.
    fn lacks(&self) -> &'static str;

    /// Whether a file that begins like this is one of its files. `start`: at most [`START`] bytes, perhaps cut anywhere.
    fn recognizes(&self, start: &[u8]) -> bool;

    /// Other files that belong to this one and are read with it.
    ///
    /// # Errors
    /// A folder that may have some cannot be read.
    fn companions(&self, _path: &Path) -> Result<Vec<PathBuf>, ImportError> {
        Ok(Vec::new())
    }

    /// Reads a file from its beginning to its end and hands over what is in it, in order.
    ///
    /// # Errors
    /// The file cannot be read, is not of this format at all, or `found` fails.
    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError>;
}

/// How much of a file's beginning tells its format.
pub(super) const START: usize = 256 << 10;

/// A file that is being read.
pub struct Source<'a> {
    /// Its path, for names of sessions and for errors.
    pub path: &'a Path,
    /// Its bytes.
    pub reader: &'a mut dyn BufRead,
}

/// What is found in a file.
pub enum Found {
    /// An exchange.
    Exchange(Box<ImportedExchange>),
    /// Something that is no call of a model's API.
    Unrelated,
    /// Something that might have been an exchange.
    Passed(Passed),
}

/// An exchange as far as the file holds it.
pub struct ImportedExchange {
    /// Its trace, before redaction; its number in the session is not known yet.
    pub trace: Trace,
    /// Where in the file it stands.
    pub place: String,
    /// What its request was allowed with and its headers do not hold: the password in its address.
    pub credentials: Vec<String>,
    /// What this one lacks, beside what all of its format lack.
    pub missing: Vec<String>,
}

/// Something that is not imported.
#[derive(Debug)]
pub struct Passed {
    /// Where in the file it stands, such as `line 7`.
    pub place: String,
    /// Why it is no trace.
    pub reason: String,
}
