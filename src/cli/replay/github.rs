//! What GitHub Actions asks for through the environment: annotations among the lines that are printed, and a summary of the job.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::figures::Figures;
use crate::cli::CliError;
use crate::report::job_summary::LARGEST;
use crate::report::{annotations, ended_by};

/// What is asked for.
pub(super) struct GitHub {
    /// The repository's folder, if problems are to be printed as annotations.
    annotated: Option<PathBuf>,
    /// The file that the job's summary is appended to.
    summary: Option<PathBuf>,
}

impl GitHub {
    pub(super) fn from_environment() -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let annotated = set("GITHUB_ACTIONS").filter(|value| value == Path::new("true"));
        Self { annotated: annotated.map(|_| set("GITHUB_WORKSPACE").unwrap_or_default()), summary: set("GITHUB_STEP_SUMMARY") }
    }

    /// The annotations, as lines to print; none if nobody asks for them.
    pub(super) fn annotations(&self, figures: Figures) -> String {
        let Some(repository) = &self.annotated else { return String::new() };
        annotations(&figures.problems(), |path| in_repository(path, repository))
    }

    /// The annotation of what has ended the replay; empty if nobody asks for it.
    pub(super) fn ended_by(&self, error: &CliError) -> String {
        self.annotated.as_ref().map(|_| ended_by(&error.to_string())).unwrap_or_default()
    }

    /// Appends the summary to what the step has written there.
    pub(super) fn append_summary(&self, figures: Figures) -> Result<(), CliError> {
        let Some(path) = &self.summary else { return Ok(()) };
        let unwritable = |error| CliError::input(format!("cannot write {}: {error}; unset GITHUB_STEP_SUMMARY", path.display()));
        let room = LARGEST.saturating_sub(fs::metadata(path).map_or(0, |file| file.len() as usize));
        let text = figures.to_markdown(room);
        // A summary that is too large is lost with all that the step wrote before.
        if text.len() > room {
            return Ok(());
        }
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(unwritable)?;
        file.write_all(text.as_bytes()).map_err(unwritable)
    }
}

/// A path as the repository has it, which GitHub looks for. A file elsewhere keeps its path.
fn in_repository(path: &Path, repository: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let inside = absolute.strip_prefix(repository).ok().filter(|_| repository.is_absolute());
    inside.unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_that_in_the_repository() {
        let here = env::current_dir().unwrap();
        let above = here.parent().unwrap();
        let inside = here.file_name().unwrap().to_str().unwrap();
        assert_eq!(in_repository(Path::new("traces/a.json"), above), format!("{inside}/traces/a.json"));
        assert_eq!(in_repository(Path::new("/elsewhere/a.json"), above), "/elsewhere/a.json");
        assert_eq!(in_repository(Path::new("traces/a.json"), Path::new("")), "traces/a.json");
    }
}
