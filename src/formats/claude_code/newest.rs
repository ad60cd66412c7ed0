//! The newest session of a folder.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memchr::memmem;

use super::line::{self, Line};
use super::place::transcripts_in;
use crate::formats::lines::for_each_line;
use crate::formats::open::open;

/// What a search for the newest session found.
#[derive(Debug, Default)]
pub struct Newest {
    /// The transcript with requests that was written last.
    pub transcript: Option<PathBuf>,
    /// What was written later or cannot be read, and why it is not taken.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Searches a folder for the transcript with requests that was written last.
///
/// # Errors
/// The folder cannot be read.
pub fn newest_session(folder: &Path) -> io::Result<Newest> {
    let mut newest = Newest::default();
    let mut files = Vec::new();
    for path in transcripts_in(folder)? {
        match written(&path) {
            Ok(time) => files.push((time, path)),
            Err(error) => newest.skipped.push((path, error.to_string())),
        }
    }
    files.sort_by_key(|(time, _)| Reverse(*time));
    for (_, path) in files {
        let reason = match has_request(&path) {
            Ok(true) => {
                newest.transcript = Some(path);
                break;
            }
            Ok(false) => "it holds no requests".to_owned(),
            Err(error) => error.to_string(),
        };
        newest.skipped.push((path, reason));
    }
    Ok(newest)
}

/// When a regular file was written last. Others are not opened: a pipe would never end.
fn written(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() { metadata.modified() } else { Err(io::Error::other("it is no regular file")) }
}

/// What ends the reading of a file.
enum Stop {
    Found,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a transcript has a request.
fn has_request(path: &Path) -> io::Result<bool> {
    let kind = memmem::Finder::new("\"api-request\"");
    let read = for_each_line(&mut *open(path)?, |_, line| {
        // Most lines are others, and long.
        let is_request = kind.find(line).is_some() && matches!(line::read(line), Ok(Line::Request(_)));
        if is_request { Err(Stop::Found) } else { Ok(()) }
    });
    match read {
        Ok(()) => Ok(false),
        Err(Stop::Found) => Ok(true),
        Err(Stop::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_newest_is_a_file_with_requests() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let request = r#"{"type":"api-request","id":"a","sessionId":"s","timestamp":"t","version":"v","shapeHash":"h","params":{},"tail":[]}"#;
        let files = [("a.jsonl", request, 1), ("b.jsonl", request, 2), ("c.jsonl", r#"{"type":"user","message":{}}"#, 3)];
        for (name, text, second) in files {
            fs::write(at(name), text).unwrap();
            fs::File::options()
                .write(true)
                .open(at(name))
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                .unwrap();
        }
        std::os::unix::fs::symlink("nothing", at("link.jsonl")).unwrap();
        fs::create_dir(at("folder.jsonl")).unwrap();
        let newest = newest_session(folder.path()).unwrap();
        assert_eq!(newest.transcript, Some(at("b.jsonl")));
        let mut skipped: Vec<_> = newest.skipped.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        skipped.sort_unstable();
        assert_eq!(skipped, ["c.jsonl", "folder.jsonl", "link.jsonl"]);
    }
}
