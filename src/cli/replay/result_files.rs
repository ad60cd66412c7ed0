//! The files that a replay's figures are written to.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::files::{Access, folder_of, write_atomically};
use crate::report::{Report, hgrm, junit};

/// Where figures are written.
pub(super) struct ResultFiles {
    /// The file for `--json`.
    pub json: Option<PathBuf>,
    /// The file for `--junit`.
    pub junit: Option<PathBuf>,
    /// The folder for `--hgrm`.
    pub hgrm: Option<PathBuf>,
}

impl ResultFiles {
    /// Writes the figures so far, over those that were written before.
    pub(super) fn write(&self, report: &Report) -> Result<(), CliError> {
        if let Some(path) = &self.json {
            write(path, &report.to_json())?;
        }
        if let Some(path) = &self.junit {
            let xml = junit::to_junit(report).map_err(|error| unwritable(path, io::Error::other(error)))?;
            write(path, &xml)?;
        }
        let Some(folder) = &self.hgrm else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
        for phase in &report.latency {
            for (metric, distribution) in phase.distributions().iter().filter(|(_, distribution)| distribution.count() > 0) {
                let name = format!("{}-{}.hgrm", phase.phase, metric.name().to_lowercase());
                write(&folder.join(name), &hgrm::to_hgrm(distribution))?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::create_dir_all(folder_of(path))
        .and_then(|()| write_atomically(path, text.as_bytes(), Access::Everyone))
        .map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> CliError {
    CliError::input(format!("cannot write {}: {error}; choose another place with --json, --junit or --hgrm", path.display()))
}
