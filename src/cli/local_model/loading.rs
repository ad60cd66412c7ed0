//! Loading a model folder, with a progress bar or without.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use crate::backend::mlx::MlxBackend;
use crate::cli::{CliError, blocking, say};
use crate::engine::{EngineError, EngineOptions, LoadListener, LoadProgress};

/// Loads a model folder and shows how far it is.
pub(crate) async fn load(folder: PathBuf, options: EngineOptions) -> Result<MlxBackend, CliError> {
    let started = Instant::now();
    let bar = bar(&folder);
    let options = EngineOptions { on_load: listener(&bar), ..options };
    let loaded = load_silently(folder, options).await;
    bar.finish_and_clear();
    let backend = loaded?;
    say(format_args!("loaded in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(backend)
}

/// Loads a model folder.
pub(crate) async fn load_silently(folder: PathBuf, options: EngineOptions) -> Result<MlxBackend, CliError> {
    blocking(move || MlxBackend::load(&folder, options).map_err(explain)).await
}

/// The engine's error with the flag that helps.
fn explain(error: EngineError) -> CliError {
    match error {
        EngineError::ModelFile { .. } => {
            CliError::input(format!("{error}: get the model folder again, or choose another with --model"))
        }
        EngineError::CacheFolder { .. } => CliError::input(format!("{error}: choose another folder with --cache-dir")),
        other => CliError::backend(other),
    }
}

/// A progress bar; without a terminal, a line and a hidden bar.
fn bar(folder: &Path) -> ProgressBar {
    let message = format!("loading {}", folder.display());
    if !console::user_attended_stderr() {
        say(message);
        return ProgressBar::hidden();
    }
    // The test below parses the template.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::no_length().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.with_message(message)
}

const TEMPLATE: &str = "{spinner} {msg} {decimal_bytes} of {decimal_total_bytes}";

/// Moves the bar. Before the first weight is read it says how much memory the weights need, if that is more than their files.
fn listener(bar: &ProgressBar) -> LoadListener {
    let bar = bar.clone();
    LoadListener::new(move |LoadProgress { read, total, memory }| {
        if read == 0 && memory > total {
            let (memory, total) = (DecimalBytes(memory), DecimalBytes(total));
            bar.suspend(|| say(format_args!("weights take {memory} in memory, {total} on disk")));
        }
        bar.set_length(total);
        bar.set_position(read);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
