//! Where a command writes what an option asks for.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::output::{PrintedPieces, print_whole, unless_reader_left, unprintable};
use super::{CliError, print, print_to_stderr};
use crate::files::{Access, FileAsNamed, write_as_named};

/// What `--json FILE` and its like name. `-` is standard output; its lines for people are then on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    File(PathBuf),
    StandardOutput,
}

/// What standard output is called.
const STANDARD_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

impl From<OsString> for Destination {
    fn from(name: OsString) -> Self {
        let is_standard_output = STANDARD_OUTPUT.iter().any(|known| name == *known);
        if is_standard_output { Self::StandardOutput } else { Self::File(name.into()) }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::StandardOutput => f.write_str("standard output"),
        }
    }
}

impl Destination {
    /// Checks that no file that is read would be written over.
    pub(super) fn check_against<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), CliError> {
        let Self::File(path) = self else { return Ok(()) };
        let Ok(there) = path.canonicalize() else { return Ok(()) };
        match inputs.into_iter().any(|input| input.canonicalize().is_ok_and(|input| input == there)) {
            true => Err(CliError::unwritable(path, &io::Error::other("it is one of the files that are read"))),
            false => Ok(()),
        }
    }

    /// Writes all of it, for everyone to read.
    pub(super) fn write(&self, text: &str) -> Result<(), CliError> {
        match self {
            Self::File(path) => unless_reader_left(write_as_named(path, text), |error| CliError::unwritable(path, &error)),
            Self::StandardOutput => print_whole(text),
        }
    }

    /// Writes it piece by piece, for its owner to read; a file is there once `work` has succeeded. Each piece is a whole text.
    pub(super) fn write_pieces(&self, work: impl FnOnce(&mut dyn Write) -> Result<(), PieceError>) -> Result<(), CliError> {
        let written = match self {
            Self::File(path) => FileAsNamed::create(path, Access::Owner).map_err(PieceError::Write).and_then(|mut file| {
                work(&mut file)?;
                file.finish().map_err(PieceError::Write)
            }),
            Self::StandardOutput => work(&mut PrintedPieces::new()),
        };
        match (written, self) {
            (Ok(()), _) => Ok(()),
            (Err(PieceError::Other(error)), _) => Err(error),
            (Err(PieceError::Write(error)), Self::File(path)) => {
                unless_reader_left(Err(error), |error| CliError::unwritable(path, &error))
            }
            (Err(PieceError::Write(error)), Self::StandardOutput) => unless_reader_left(Err(error), unprintable),
        }
    }
}

/// Why something is not written to its end.
pub(super) enum PieceError {
    /// It cannot be written.
    Write(io::Error),
    /// It cannot be made.
    Other(CliError),
}

impl From<io::Error> for PieceError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Prints lines for people: beside a file to standard output, and to standard error if one of the files is there.
pub(super) fn print_beside<'a>(files: impl IntoIterator<Item = &'a Destination>, text: &str) -> Result<(), CliError> {
    if files.into_iter().any(|file| *file == Destination::StandardOutput) {
        print_to_stderr(text);
        return Ok(());
    }
    print(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let [input, link, other] = ["input", "link", "other"].map(|name| folder.path().join(name));
        std::fs::write(&input, "").unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        for (named, is_fine) in [(&input, false), (&link, false), (&other, true)] {
            let destination = Destination::from(OsString::from(named));
            assert_eq!(destination.check_against([other.as_path(), &input]).is_ok(), is_fine, "{destination}");
        }
    }

    #[test]
    fn a_dash_is_standard_output() {
        for (name, expected) in [("-", true), ("/dev/stdout", true), ("./-", false), ("a", false)] {
            assert_eq!(Destination::from(OsString::from(name)) == Destination::StandardOutput, expected, "{name}");
        }
    }
}
