//! The recorder's page, beside a recording.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::cli::{CliError, say};
use crate::watch::RecorderPage;

/// The page that is asked for.
pub(super) struct PagePlan {
    /// The folder of the sessions' folders.
    pub folder: PathBuf,
    /// Where to listen; 0 for any free port.
    pub port: u16,
}

/// Serves the page, if one is asked for, until the recording ends, and says its address. Returns what the recording does.
pub(super) async fn beside_page<T>(
    page: Option<PagePlan>,
    recording: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let Some(PagePlan { folder, port }) = page else { return recording.await };
    let bound = RecorderPage::bind(folder, port).await;
    let page = bound.map_err(|error| CliError::backend(format!("--ui: no page at port {port} of 127.0.0.1: {error}")))?;
    say(format_args!("watch it at {}", page.address().map_err(CliError::backend)?));
    let stopping = CancellationToken::new();
    let served = tokio::spawn(page.run(stopping.clone()));
    let outcome = recording.await;
    stopping.cancel();
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the recorder's page ended: {error}"),
        Err(error) => tracing::warn!("the recorder's page ended: {error}"),
    }
    outcome
}
