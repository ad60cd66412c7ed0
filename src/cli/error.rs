//! What ends a command early, and the exit code that each of the library's errors gets.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::files::folder_of;
use crate::hub::HubError;
use crate::snapshot::SnapshotError;
use crate::trace::TraceError;
use crate::trace::redact::Redactor;

/// Why a command ended early: what to tell the user, and with which exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage, or input that cannot be read. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// A backend, an upstream or the machine failed. Exit code 3.
    #[error("{0}")]
    Backend(String),
    /// A server cannot be reached. Exit code 3.
    #[error("{0}")]
    Unreachable(String),
}

impl CliError {
    /// Wrong usage, or input that cannot be read.
    pub fn input(error: impl Display) -> Self {
        Self::Input(error.to_string())
    }

    /// A file that the user has named cannot be written.
    pub(super) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::input(format!("cannot write {}: {error}; choose another place", path.display()))
    }

    /// A backend, an upstream or the machine failed.
    pub fn backend(error: impl Display) -> Self {
        Self::Backend(error.to_string())
    }

    /// The same without what the redactor takes for a secret: servers and files may be quoted.
    pub(super) fn redacted(self, redactor: &Redactor) -> Self {
        let clean = |text: String| redactor.text(&text).into_owned();
        match self {
            Self::Input(text) => Self::Input(clean(text)),
            Self::Backend(text) => Self::Backend(clean(text)),
            Self::Unreachable(text) => Self::Unreachable(clean(text)),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Backend(_) | Self::Unreachable(_) => 3,
        }
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Unreachable { .. } => Self::Unreachable(format!("{error}; is the server running?")),
            BackendError::Unusable { .. } => Self::input(error),
            BackendError::Answered { .. } | BackendError::Protocol { .. } | BackendError::BrokenOff => Self::backend(error),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::input(error)
    }
}

impl From<TraceError> for CliError {
    fn from(error: TraceError) -> Self {
        match &error {
            TraceError::Missing { .. } => Self::Input(format!(
                "{error}; `anyclaude record -- claude` makes traces in traces/, `anyclaude --record` in ~/.anyclaude/traces"
            )),
            TraceError::NothingFound { .. } => Self::Input(format!("{error}; make some with `anyclaude record -- claude`")),
            TraceError::Partial { path } => {
                let folder = folder_of(path).display();
                Self::Input(format!("{error}; make it a trace with `anyclaude trace recover {folder}`"))
            }
            TraceError::Io { .. }
            | TraceError::Malformed { .. }
            | TraceError::Version { .. }
            | TraceError::Compressed { .. }
            | TraceError::TooLarge { .. }
            | TraceError::SessionName { .. } => Self::input(error),
        }
    }
}

impl From<SnapshotError> for CliError {
    fn from(error: SnapshotError) -> Self {
        Self::input(error)
    }
}

impl From<HubError> for CliError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::NoSuchModel { .. }
            | HubError::NotAllowed { .. }
            | HubError::Gated { .. }
            | HubError::NoModel { .. }
            | HubError::NoHome => Self::input(error),
            HubError::Answered { .. }
            | HubError::Unreachable { .. }
            | HubError::NoSuchFile { .. }
            | HubError::Protocol { .. }
            | HubError::Damaged { .. }
            | HubError::Busy { .. }
            | HubError::Io { .. } => Self::backend(error),
        }
    }
}
