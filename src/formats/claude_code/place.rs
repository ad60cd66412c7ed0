//! Where Claude Code keeps its transcripts.

use std::fs;
use std::io;
use std::iter;
use std::path::{Path, PathBuf};

use crate::formats::{ImportError, stem};

/// The longest name that Claude Code gives a folder as it is. It cuts longer ones here, and puts a hash behind.
const MAX_NAME: usize = 200;

/// The folder with the transcripts of the sessions that ran in `folder`, in Claude Code's own folder (`~/.claude`).
///
/// # Errors
/// The name is so long that it is cut, and there are several folders that begin like it, or it cannot be told.
pub fn projects_folder(claude: &Path, folder: &Path) -> Result<PathBuf, ImportError> {
    let projects = claude.join("projects");
    let name = name_of(folder);
    let Some(begins) = name.get(..MAX_NAME).filter(|begins| begins.len() < name.len()) else {
        return Ok(projects.join(name));
    };
    let begins = format!("{begins}-");
    let mut found = entries_of(&projects).map_err(|source| ImportError::Io { path: projects.clone(), source })?;
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins)));
    match &found[..] {
        [] => Ok(projects.join(begins + "*")),
        [one] => Ok(one.clone()),
        _ => Err(ImportError::Ambiguous { pattern: projects.join(begins + "*") }),
    }
}

/// A folder's path as the name of a folder: a dash for every UTF-16 unit that is no letter or digit of ASCII.
fn name_of(folder: &Path) -> String {
    let plain = |c: char| {
        let (shown, times) = if c.is_ascii_alphanumeric() { (c, 1) } else { ('-', c.len_utf16()) };
        iter::repeat_n(shown, times)
    };
    folder.to_string_lossy().chars().flat_map(plain).collect()
}

/// The transcripts of the sub-agents of the session that has this one.
///
/// # Errors
/// Their folder cannot be read.
pub(super) fn subagents_of(transcript: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let folder = stem(transcript).join("subagents");
    transcripts_in(&folder).map_err(|source| ImportError::Io { path: folder, source })
}

/// The transcripts right in a folder, sorted; none if there is no such folder.
pub(super) fn transcripts_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = entries_of(folder)?;
    let endings = [".jsonl", ".jsonl.gz", ".jsonl.zst"];
    paths.retain(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    paths.sort();
    Ok(paths)
}

/// What is right in a folder; nothing if there is no such folder.
fn entries_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_claude_code_names_them() {
        assert_eq!(name_of(Path::new("/home/me/my_app.rs")), "-home-me-my-app-rs");
        // One unit of UTF-16, and two.
        assert_eq!(name_of(Path::new("/é/😀")), "-----");
    }

    #[test]
    fn the_folder_of_a_long_name_is_found_by_its_beginning() {
        let claude = tempfile::tempdir().unwrap();
        let projects = claude.path().join("projects");
        let long = PathBuf::from(format!("/{}", "a".repeat(300)));
        let begins = format!("-{}-", "a".repeat(199));
        fs::create_dir_all(projects.join("-other")).unwrap();
        assert_eq!(projects_folder(claude.path(), &long).unwrap(), projects.join(format!("{begins}*")));
        fs::create_dir(projects.join(format!("{begins}x1"))).unwrap();
        assert_eq!(projects_folder(claude.path(), &long).unwrap(), projects.join(format!("{begins}x1")));
        fs::create_dir(projects.join(format!("{begins}x2"))).unwrap();
        assert!(projects_folder(claude.path(), &long).unwrap_err().to_string().contains("more than one folder"));
    }
}
