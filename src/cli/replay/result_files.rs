//! The files that a replay's figures are written to.

use std::io;
use std::path::{Path, PathBuf};

use super::args::ReplayArgs;
use super::figures::Figures;
use crate::cli::{CliError, print, print_to_stderr};
use crate::files::write_as_named;
use crate::report::{Report, hgrm};

/// Where figures are written.
pub(super) struct ResultFiles {
    /// Where `--json` goes.
    pub json: Option<JsonPlace>,
    /// The file for `--html`.
    pub html: Option<PathBuf>,
    /// The file for `--junit`.
    pub junit: Option<PathBuf>,
    /// The folder for `--hgrm`.
    pub hgrm: Option<PathBuf>,
}

/// Where the JSON goes.
pub(super) enum JsonPlace {
    /// Into this file.
    File(PathBuf),
    /// To standard output, when all is done.
    StandardOutput,
}

impl ResultFiles {
    pub(super) fn of(args: &ReplayArgs) -> Self {
        let json = args.json.clone().map(|path| match path == Path::new("-") {
            true => JsonPlace::StandardOutput,
            false => JsonPlace::File(path),
        });
        Self { json, html: args.html.clone(), junit: args.junit.clone(), hgrm: args.hgrm.clone() }
    }

    /// Prints to standard output, or to standard error if the other is for JSON.
    pub(super) fn print(&self, text: &str) -> Result<(), CliError> {
        match &self.json {
            Some(JsonPlace::StandardOutput) => {
                print_to_stderr(text);
                Ok(())
            }
            Some(JsonPlace::File(_)) | None => print(text),
        }
    }

    /// Writes the figures for the last time, to standard output too.
    pub(super) fn finish(&self, figures: Figures) -> Result<(), CliError> {
        self.write(figures)?;
        match &self.json {
            Some(JsonPlace::StandardOutput) => print(&figures.to_json()),
            Some(JsonPlace::File(_)) | None => Ok(()),
        }
    }

    /// Writes the figures so far, over those that were written before.
    pub(super) fn write(&self, figures: Figures) -> Result<(), CliError> {
        if let Some(JsonPlace::File(path)) = &self.json {
            write(path, &figures.to_json())?;
        }
        if let Some(path) = &self.html {
            write(path, &figures.to_html())?;
        }
        if let Some(path) = &self.junit {
            let xml = figures.to_junit().map_err(|error| unwritable(path, io::Error::other(error)))?;
            write(path, &xml)?;
        }
        let Some(folder) = &self.hgrm else { return Ok(()) };
        for (folder, report) in figures.reports(folder) {
            write_hgrm(&folder, report)?;
        }
        Ok(())
    }
}

/// Writes a file for each phase and metric.
fn write_hgrm(folder: &Path, report: &Report) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    for phase in &report.latency {
        for (metric, distribution) in phase.distributions().iter().filter(|(_, distribution)| distribution.count() > 0) {
            let name = format!("{}-{}.hgrm", phase.phase, metric.name().to_lowercase());
            write(&folder.join(name), &hgrm::to_hgrm(distribution))?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    write_as_named(path, text).map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: io::Error) -> CliError {
    CliError::input(format!(
        "cannot write {}: {error}; choose another place with --json, --html, --junit or --hgrm",
        path.display()
    ))
}
