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

/// The first fields of a file; `None` if it is no trace's.
pub(super) fn head(path: &Path) -> Option<Head> {
    // What other tools write may have its fields in another order and all in one line. Then the whole file is read.
    head_of_lines(path).or_else(|| serde_json::from_reader(open(path).ok()?).ok())
}

/// The first fields of a trace as anyclaude writes it, of which only the beginning is read.
fn head_of_lines(path: &Path) -> Option<Head> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trace::read;

    #[test]
    fn a_trace_is_known_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let trace = read("traces/read-file/0001.json".as_ref()).unwrap();
        for (name, text) in
            [("lines.json", serde_json::to_string_pretty(&trace).unwrap()), ("line.json", serde_json::to_string(&trace).unwrap())]
        {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            assert_eq!(head(&file).unwrap().id, trace.id, "{name}");
        }
        assert!(head(folder.path()).is_none());
    }
}
