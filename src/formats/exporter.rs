//! What every exporter gets and gives.

use std::io::{self, Write};

use serde_json::Value;

use crate::trace::Trace;
use crate::wire::MessagesRequest;

/// Gives the tokens of a request's prompt; `None` if it has no prompt.
pub type CountTokens<'a> = dyn Fn(&MessagesRequest) -> Option<Vec<u32>> + 'a;

/// Gives an exchange as a file has it, going by those before; `None` if it has none of this kind.
pub type ExportExchange<'a> = Box<dyn FnMut(&Trace) -> Option<Value> + 'a>;

/// Writes traces as a file of one other tool.
pub trait Exporter: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Whose files they are, in a few words.
    fn title(&self) -> &'static str;

    /// Which exchanges have no place in its files.
    fn leaves_out(&self) -> &'static str;

    /// Whether its files have lengths of prompts in tokens.
    fn counts_tokens(&self) -> bool {
        false
    }

    /// What stands before the first exchange, between two, and behind the last.
    fn frame(&self) -> Frame;

    /// Begins a file, whose exchanges come in the order of their times.
    fn begin<'a>(&'a self, tokens: &'a CountTokens<'a>) -> ExportExchange<'a>;
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

impl Frame {
    /// Of a file with an exchange in each line.
    pub(super) const LINES: Self = Self { before: "", between: "\n", behind: "\n" };
}

/// A file that is being written, one exchange at a time.
pub struct Export<'a> {
    frame: Frame,
    exchange: ExportExchange<'a>,
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
    pub fn begin(exporter: &'a dyn Exporter, tokens: &'a CountTokens<'a>, out: &'a mut dyn Write) -> io::Result<Self> {
        let frame = exporter.frame();
        out.write_all(frame.before.as_bytes())?;
        Ok(Self { frame, exchange: exporter.begin(tokens), out, written: 0, passed: 0 })
    }

    /// Adds an exchange.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, trace: &Trace) -> io::Result<()> {
        let Some(value) = (self.exchange)(trace) else {
            self.passed += 1;
            return Ok(());
        };
        if self.written > 0 {
            self.out.write_all(self.frame.between.as_bytes())?;
        }
        self.written += 1;
        Ok(serde_json::to_writer(&mut *self.out, &value)?)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(self.frame.behind.as_bytes())?;
        self.out.flush()
    }
}
