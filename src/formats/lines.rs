//! Files of a JSON object a line.

use std::io::{self, BufRead, Read};

/// The most bytes of a line: more than any request has.
const MAX_LINE: usize = 1 << 30;

/// Calls `each` with every line that is not empty and its number, from 1. Only one line is in memory.
///
/// # Errors
/// The file cannot be read, a line is longer than 1 GiB, or `each` fails.
pub(super) fn for_each_line<E: From<io::Error>>(
    reader: &mut dyn BufRead,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        // One more than is allowed, so that too long a line is told from one of just that length.
        let read = (&mut *reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if read > MAX_LINE {
            return Err(io::Error::other(format!("line {number} is longer than {} MiB", MAX_LINE >> 20)).into());
        }
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() {
            each(number, trimmed)?;
        }
    }
    Ok(())
}

/// The whole lines in the beginning of a file; the last may be cut.
pub(super) fn lines_of(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}
