//! Where Claude Code keeps its transcripts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder with the transcripts of the sessions that ran in `folder`, in Claude Code's own folder (`~/.claude`).
pub fn projects_folder(claude: &Path, folder: &Path) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    claude.join("projects").join(folder.to_string_lossy().chars().map(plain).collect::<String>())
}

/// The transcript in this folder that was written last; `None` if there is none.
pub fn newest_session(projects: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for path in transcripts_in(projects)? {
        let changed = fs::metadata(&path)?.modified()?;
        if newest.as_ref().is_none_or(|(time, _)| *time < changed) {
            newest = Some((changed, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// The transcripts of the sub-agents of the session that has this one.
pub(super) fn subagents_of(transcript: &Path) -> Vec<PathBuf> {
    transcripts_in(&transcript.with_extension("").join("subagents")).unwrap_or_default()
}

/// The transcripts right in a folder, sorted; none if there is no such folder.
fn transcripts_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    Ok(paths)
}
