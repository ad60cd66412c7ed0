//! What every exporter gets and gives.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::session_names::SessionNames;
use crate::trace::Trace;
use crate::wire::MessagesRequest;

/// Gives the tokens of a request's prompt; `None` if it has no prompt.
pub type CountTokens<'a> = dyn Fn(&MessagesRequest) -> Option<Vec<u32>> + 'a;

/// Makes the values of a file from exchanges.
pub trait Exchanges {
    /// Takes an exchange, going by those before; gives the values that are finished by it, or `None` if the file has no place for
    /// it. Its session's name is that of no other session in the file.
    fn take(&mut self, trace: &Trace) -> Option<Vec<Value>>;

    /// The values that were not finished before the last exchange.
    fn rest(&mut self) -> Vec<Value> {
        Vec::new()
    }
}

/// Of a file with a value for each exchange.
impl<F: FnMut(&Trace) -> Option<Value>> Exchanges for F {
    fn take(&mut self, trace: &Trace) -> Option<Vec<Value>> {
        self(trace).map(|value| vec![value])
    }
}

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
    fn begin<'a>(&'a self, tokens: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a>;
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
    exchanges: Box<dyn Exchanges + 'a>,
    sessions: SessionNames,
    out: &'a mut dyn Write,
    /// How many values it has.
    values: usize,
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
        let (exchanges, sessions) = (exporter.begin(tokens), SessionNames::default());
        Ok(Self { frame, exchanges, sessions, out, values: 0, written: 0, passed: 0 })
    }

    /// Adds the exchange of this trace's file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, file: &Path, mut trace: Trace) -> io::Result<()> {
        trace.session = self.sessions.of(file, &trace.session).to_owned();
        let Some(values) = self.exchanges.take(&trace) else {
            self.passed += 1;
            return Ok(());
        };
        self.written += 1;
        self.write(values)
    }

    fn write(&mut self, values: Vec<Value>) -> io::Result<()> {
        for value in values {
            if self.values > 0 {
                self.out.write_all(self.frame.between.as_bytes())?;
            }
            self.values += 1;
            serde_json::to_writer(&mut *self.out, &value)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        let rest = self.exchanges.rest();
        self.write(rest)?;
        self.out.write_all(self.frame.behind.as_bytes())?;
        self.out.flush()
    }
}
