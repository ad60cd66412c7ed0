//! Blocking work in an async program.

use super::CliError;

/// Runs work that blocks, such as reading files, on a thread where it holds up no async task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CliError> + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(CliError::backend)?
}
