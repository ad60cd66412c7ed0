//! The beginning of a trace's file.

use std::io::{BufRead, Read};
use std::path::Path;

use serde::Deserialize;

use super::open::open;

/// The first fields of a trace's file, as far as they are needed.
#[derive(Deserialize)]
pub(super) struct Head {
    pub id: String,
    pub recorded_at: String,
    pub mode: String,
}

/// The most bytes that are read for them: headers that a client chose may stand there.
const HEAD: u64 = 1 << 20;

/// The beginning of a file; `None` if it is no trace's.
pub(super) fn head(path: &Path) -> Option<Head> {
    let mut file = open(path).ok()?.take(HEAD);
    let mut start = Vec::new();
    // All of them stand before the request, each in a line.
    loop {
        let read = start.len();
        if file.read_until(b'\n', &mut start).ok()? == 0 {
            return None;
        }
        if start[read..].starts_with(b"  \"request\": ") {
            start.truncate(read);
            break;
        }
    }
    let mut fields = start.trim_ascii_end().strip_suffix(b",")?.to_vec();
    fields.push(b'}');
    serde_json::from_slice(&fields).ok()
}
