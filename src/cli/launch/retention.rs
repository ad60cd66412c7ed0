//! How long recordings are kept: the newest sessions of a mode, so many of them.

use std::fs;
use std::io;
use std::path::Path;

/// Removes the oldest sessions of a folder until `keep` are left. Only folders whose name is a time, as the launcher gives
/// them, are sessions of ours; others are left alone, and so is a session that holds anything but traces.
pub fn keep_newest(folder: &Path, keep: usize) -> io::Result<()> {
    let mut sessions: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_time(name))
        .collect();
    sessions.sort();
    sessions.truncate(sessions.len().saturating_sub(keep));
    sessions.iter().try_for_each(|session| remove(&folder.join(session)))
}

/// Whether a session's name is a time: `20260131-235959`, perhaps with a number behind it.
fn is_time(name: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.splitn(3, '-');
    let (date, time) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    digits(date, 8) && digits(time, 6) && parts.next().is_none_or(|number| digits(number, number.len()))
}

/// Removes the traces in a session's folder, then the folder if that leaves it empty.
fn remove(session: &Path) -> io::Result<()> {
    for entry in fs::read_dir(session)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if [".json", ".json.zst", ".json.partial"].iter().any(|end| name.ends_with(end)) {
            fs::remove_file(&path)?;
        }
    }
    match fs::remove_dir(session) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sessions_are_kept_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        for session in ["20260101-000000", "20260101-000000-2", "20260102-000000", "mine", "20260101"] {
            fs::create_dir(folder.path().join(session)).unwrap();
            fs::write(folder.path().join(session).join("0001.json"), "{}").unwrap();
        }
        fs::write(folder.path().join("20260101-000000/notes.txt"), "keep me").unwrap();
        keep_newest(folder.path(), 1).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["20260101", "20260101-000000", "20260102-000000", "mine"]);
        assert!(folder.path().join("20260101-000000/notes.txt").exists());
        assert!(!folder.path().join("20260101-000000/0001.json").exists());
        assert!(folder.path().join("20260102-000000/0001.json").exists());
    }

    #[test]
    fn fewer_than_the_limit_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("20260101-000000")).unwrap();
        keep_newest(folder.path(), 5).unwrap();
        assert!(folder.path().join("20260101-000000").exists());
    }
}
