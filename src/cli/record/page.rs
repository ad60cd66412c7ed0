//! The recorder's page, beside a recording.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::cli::CliError;
use crate::watch::RecorderPage;

/// The page that is asked for.
pub(super) struct PagePlan {
    /// The folder of the sessions' folders.
    pub folder: PathBuf,
    /// Where to listen; 0 for any free port.
    pub port: u16,
}

/// A page that has its port.
pub(super) struct OpenPage {
    page: RecorderPage,
    /// Its address, which is secret.
    pub address: String,
}

impl PagePlan {
    /// Takes the page's port. Nothing is served yet.
    pub(super) async fn open(self) -> Result<OpenPage, CliError> {
        let Self { folder, port } = self;
        let bound = RecorderPage::bind(folder, port).await;
        let page = bound.map_err(|error| {
            let other = if port == 0 { "" } else { "; choose another one, or leave it out: --ui alone takes any free port" };
            CliError::backend(format!("--ui: no page at port {port} of 127.0.0.1: {error}{other}"))
        })?;
        let address = page.address().map_err(CliError::backend)?;
        Ok(OpenPage { page, address })
    }
}

/// Serves the page, if there is one, until the recording ends. Returns what the recording does.
pub(super) async fn beside_page<T>(page: Option<OpenPage>, recording: impl Future<Output = T>) -> T {
    let Some(OpenPage { page, .. }) = page else { return recording.await };
    let stopping = CancellationToken::new();
    let stopped = stopping.clone();
    let served = tokio::spawn(async move {
        if let Err(error) = page.run(stopped).await {
            tracing::warn!("the recorder's page ended: {error}");
        }
    });
    let outcome = recording.await;
    stopping.cancel();
    if let Err(error) = served.await {
        tracing::warn!("the recorder's page ended: {error}");
    }
    outcome
}
