//! Accepted snapshots whose trace is gone.

use std::process::ExitCode;

use super::{CliError, print};
use crate::snapshot::Unreferenced;

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum UnreferencedAction {
    /// List them
    List,
    /// Delete them
    Delete,
    /// List them, and exit with 1 if there are any
    Fail,
}

impl UnreferencedAction {
    /// Does it. A list that nobody asked for is only for people, and only where the traces are gone for sure.
    pub(super) fn apply(self, unreferenced: &Unreferenced, is_for_people: bool) -> Result<ExitCode, CliError> {
        let Unreferenced { paths, doubt } = unreferenced;
        if paths.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let list: String = paths.iter().map(|path| format!("  {}\n", path.display())).collect();
        match (self, doubt) {
            (Self::List, _) if !is_for_people => {}
            (Self::List, Some(_)) => {}
            (Self::Delete, Some(doubt)) => {
                let next = "run it in the folder where the traces were replayed, or delete the snapshots by hand";
                return Err(CliError::input(format!("--unreferenced delete: {doubt}, so nothing was deleted; {next}")));
            }
            (Self::List | Self::Fail, _) => {
                print(&format!("\nSnapshots whose trace is gone (delete them, or restore the traces):\n{list}"))?;
            }
            (Self::Delete, None) => {
                for path in paths {
                    std::fs::remove_file(path).map_err(|error| CliError::input(format!("{}: {error}", path.display())))?;
                }
                print(&format!("\nDeleted, because their trace is gone:\n{list}"))?;
            }
        }
        Ok(if self == Self::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
