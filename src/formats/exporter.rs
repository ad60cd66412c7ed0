//! What every exporter gets and gives.

use std::io::{self, Write};

use crate::trace::Trace;

/// Writes traces as a file of one other tool.
pub trait Exporter: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whose files they are, in a few words.
    fn title(&self) -> &'static str;

    /// What stands before the first exchange, between two, and behind the last.
    fn frame(&self) -> Frame;

    /// An exchange as the file has it; `None` if it has none of this kind.
    fn exchange(&self, trace: &Trace) -> Option<serde_json::Value>;
}

/// The text around the exchanges of a file.
pub struct Frame {
    /// Before the first.
    pub before: &'static str,
    /// Between two.
    pub between: &'static str,
    /// Behind the last.
    pub behind: &'static str,
}

/// A file that is being written, one exchange at a time.
pub struct Export<'a> {
    exporter: &'a dyn Exporter,
    out: &'a mut dyn Write,
    /// How many exchanges it has.
    pub written: usize,
    /// How many it has no place for.
    pub passed: usize,
}

impl<'a> Export<'a> {
    /// Begins a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(exporter: &'a dyn Exporter, out: &'a mut dyn Write) -> io::Result<Self> {
        out.write_all(exporter.frame().before.as_bytes())?;
        Ok(Self { exporter, out, written: 0, passed: 0 })
    }

    /// Adds an exchange.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, trace: &Trace) -> io::Result<()> {
        let Some(value) = self.exporter.exchange(trace) else {
            self.passed += 1;
            return Ok(());
        };
        if self.written > 0 {
            self.out.write_all(self.exporter.frame().between.as_bytes())?;
        }
        self.written += 1;
        Ok(serde_json::to_writer(&mut *self.out, &value)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(self.exporter.frame().behind.as_bytes())?;
        self.out.flush()
    }
}
