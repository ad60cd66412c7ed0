//! Text that grows only as far as a template's fuel pays for it.
//!
//! minijinja charges for a value once it is there. By then it may have filled the memory: a list that is doubled sixty times has
//! 2^60 items in a few hundred bytes. So all our filters and methods build their text here, and nothing stands in the memory that
//! is not paid.

use std::io;

use minijinja::{Error, State};

/// How many bytes one fuel pays for. The text of lists and objects costs as much in minijinja: they are slow to walk.
const BYTES_PER_FUEL: usize = 16;

/// A text under construction.
pub(crate) struct FueledText<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    text: Vec<u8>,
}

impl<'s, 't, 'e> FueledText<'s, 't, 'e> {
    /// An empty one, paid by the rendering that is under way.
    pub(crate) fn new(state: &'s State<'t, 'e>) -> Self {
        Self { state, text: Vec::new() }
    }

    /// Appends a piece. Even an empty one costs something, so that nothing goes on for ever without a result.
    ///
    /// # Errors
    /// The fuel does not pay for it.
    pub(crate) fn push(&mut self, piece: &str) -> Result<(), Error> {
        self.push_bytes(piece.as_bytes())
    }

    fn push_bytes(&mut self, piece: &[u8]) -> Result<(), Error> {
        pay_for(self.state, piece.len())?;
        self.text.extend_from_slice(piece);
        Ok(())
    }

    /// The text.
    pub(crate) fn into_string(self) -> String {
        // What was pushed is text, and so is what serializers write.
        String::from_utf8(self.text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// Pays for bytes that are about to be made, and for the step that makes them.
///
/// # Errors
/// The fuel does not pay for it.
pub(crate) fn pay_for(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(1 + (bytes / BYTES_PER_FUEL) as u64)
}

impl io::Write for FueledText<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push_bytes(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
