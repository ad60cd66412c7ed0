//! The recorder's errors in terms of the launcher's flags and settings.

use std::io;
use std::path::Path;

use crate::cli::CliError;
use crate::cli::record::port_error;
use crate::config::FILE_NAMES;
use crate::record::RecordError;

/// The error with the flag or setting that helps.
pub(crate) fn launch_error(error: RecordError) -> CliError {
    match error {
        RecordError::Upstream { given, reason } => CliError::input(format!(
            "--base-url {given}: {reason}; give a base URL like http://127.0.0.1:8081 with --base-url, or base_url in ~/{}",
            FILE_NAMES[0]
        )),
        RecordError::Folder { folder, source } => cannot_write(&folder, &source),
        RecordError::SessionName { .. } | RecordError::InUse { .. } => CliError::input(error),
        other => port_error(other),
    }
}

/// A folder for recordings that cannot be written to.
pub(super) fn cannot_write(folder: &Path, error: &io::Error) -> CliError {
    CliError::input(format!(
        "cannot write to {}: {error}; choose another folder with traces in {}",
        folder.display(),
        FILE_NAMES[0]
    ))
}
