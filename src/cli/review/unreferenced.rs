//! Accepted snapshots whose trace is gone.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, print};

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
    /// Does it. A list that nobody asked for is only for people.
    pub(super) fn apply(self, unreferenced: &[PathBuf], is_for_people: bool) -> Result<ExitCode, CliError> {
        if unreferenced.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let list: String = unreferenced.iter().map(|path| format!("  {}\n", path.display())).collect();
        match self {
            Self::List if !is_for_people => {}
            Self::List | Self::Fail => {
                print(&format!("\nSnapshots whose trace is gone (delete them, or restore the traces):\n{list}"))?;
            }
            Self::Delete => {
                for path in unreferenced {
                    std::fs::remove_file(path).map_err(|error| CliError::input(format!("{}: {error}", path.display())))?;
                }
                print(&format!("\nDeleted, because their trace is gone:\n{list}"))?;
            }
        }
        Ok(if self == Self::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
