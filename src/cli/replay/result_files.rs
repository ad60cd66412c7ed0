//! The files that a replay's figures are written to.

use std::path::{Path, PathBuf};

use super::args::ReplayArgs;
use super::figures::Figures;
use crate::cli::destination::print_beside;
use crate::cli::{CliError, Destination};
use crate::files::write_as_named;
use crate::report::{Report, hgrm};

/// Where figures are written.
pub(super) struct ResultFiles {
    /// Where `--json`, `--html` and `--junit` go, and what makes their texts.
    named: Vec<(Destination, Format)>,
    /// The folder for `--hgrm`.
    hgrm: Option<PathBuf>,
}

/// Makes the text of a file.
type Format = fn(Figures<'_>) -> Result<String, CliError>;

impl ResultFiles {
    /// As the arguments have them.
    ///
    /// # Errors
    /// Two are to go to standard output.
    pub(super) fn of(args: &ReplayArgs) -> Result<Self, CliError> {
        let json: Format = |figures| Ok(figures.to_json());
        let html: Format = |figures| Ok(figures.to_html());
        let junit: Format = |figures| figures.to_junit().map_err(CliError::backend);
        let named = [(&args.json, json), (&args.html, html), (&args.junit, junit)];
        let named: Vec<_> = named.into_iter().filter_map(|(file, format)| Some((file.clone()?, format))).collect();
        if named.iter().filter(|(file, _)| *file == Destination::StandardOutput).count() > 1 {
            return Err(CliError::input("only one of --json, --html and --junit can be `-`; name a file for the others"));
        }
        Ok(Self { named, hgrm: args.hgrm.clone() })
    }

    /// Checks that none of them would be written over one of these files.
    pub(super) fn check_against<'a>(&self, inputs: impl Iterator<Item = &'a PathBuf> + Clone) -> Result<(), CliError> {
        self.files().try_for_each(|file| file.check_against(inputs.clone().map(PathBuf::as_path)))
    }

    /// Prints to standard output, or to standard error if the other is for figures.
    pub(super) fn print(&self, text: &str) -> Result<(), CliError> {
        print_beside(self.files(), text)
    }

    /// Writes the figures for the last time, to standard output too.
    pub(super) fn finish(&self, figures: Figures) -> Result<(), CliError> {
        self.write(figures)?;
        let mut printed = self.named.iter().filter(|(file, _)| *file == Destination::StandardOutput);
        printed.try_for_each(|(file, format)| file.write(&format(figures)?))
    }

    /// Writes the figures so far, over those that were written before.
    pub(super) fn write(&self, figures: Figures) -> Result<(), CliError> {
        for (file, format) in self.named.iter().filter(|(file, _)| *file != Destination::StandardOutput) {
            file.write(&format(figures)?)?;
        }
        let Some(folder) = &self.hgrm else { return Ok(()) };
        for (folder, report) in figures.reports(folder) {
            write_hgrm(&folder, report)?;
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = &Destination> {
        self.named.iter().map(|(file, _)| file)
    }
}

/// Writes a file for each phase and metric.
fn write_hgrm(folder: &Path, report: &Report) -> Result<(), CliError> {
    // At once, not only when there is something to write.
    std::fs::create_dir_all(folder).map_err(|error| CliError::unwritable(folder, &error))?;
    for phase in &report.latency {
        for (metric, distribution) in phase.distributions().iter().filter(|(_, distribution)| distribution.count() > 0) {
            let path = folder.join(format!("{}-{}.hgrm", phase.phase, metric.name().to_lowercase()));
            let written = write_as_named(&path, &hgrm::to_hgrm(distribution));
            written.map_err(|error| CliError::unwritable(&path, &error))?;
        }
    }
    Ok(())
}
