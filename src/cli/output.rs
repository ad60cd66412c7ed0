//! The two streams the user reads: results on standard output, everything else on standard error. Control characters do not get
//! through, and to standard error no secrets either: what servers and clients say may be in any line.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use console::Term;

use super::CliError;
use super::visible::visible;
use crate::trace::redact::Redactor;

/// Prints to standard output. A reader that has seen enough (`| head`) is no failure; any other failed write is, with exit
/// code 3.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    unless_reader_left(write_all(io::stdout().lock(), &visible(text)), unprintable)
}

/// Prints a file's text to standard output, as a file would have it; control characters do not get to a terminal.
pub(super) fn print_whole(text: &str) -> Result<(), CliError> {
    if Term::stdout().is_term() {
        return print(text);
    }
    unless_reader_left(write_all(io::stdout().lock(), text), unprintable)
}

/// Prints a line to standard error. A failure has nowhere to be reported, and must not end a server or a recording as the panic
/// of `eprintln!` would.
pub(super) fn say(line: impl Display) {
    let _ = Term::stderr().write_line(&visible(&Redactor::installed().text(&line.to_string())));
}

/// Prints a line as [`say`] does, with whatever looks like a secret in it: words of ours, such as a variable with a key that is none.
pub(super) fn say_own_words(line: &str) {
    let _ = Term::stderr().write_line(&visible(line));
}

/// Prints to standard error, as [`say`] does, without a line's end of its own.
pub(super) fn print_to_stderr(text: &str) {
    let _ = Term::stderr().write_str(&visible(&Redactor::installed().text(text)));
}

/// The outcome of writing, where the reader of a pipe that has seen enough is no failure.
pub(super) fn unless_reader_left(written: io::Result<()>, failed: impl FnOnce(io::Error) -> CliError) -> Result<(), CliError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Why nothing gets to standard output.
pub(super) fn unprintable(error: io::Error) -> CliError {
    CliError::backend(format!("cannot write to standard output: {error}"))
}

fn write_all(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Standard output for what is written piece by piece. A piece that is no whole text goes as it is.
pub(super) struct PrintedPieces(BufWriter<StdoutLock<'static>>);

impl PrintedPieces {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }
}

impl Write for PrintedPieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(visible(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
