//! `anyclaude model pull`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use crate::cli::signals::{self, Signals, exit_code_of};
use crate::cli::{CliError, print, say};
use crate::hub::{FoundModel, HubCache, HubClient, ModelName, PullProgress};

/// Says whether a model will run here, and pulls it. A Ctrl-C keeps what has come so far.
pub(super) async fn run(name: &ModelName, anyway: bool) -> Result<ExitCode, CliError> {
    let (hub, cache) = (HubClient::from_env()?, HubCache::from_env()?);
    let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
    let started = Instant::now();
    let found = tokio::select! {
        found = look(&hub, &cache, name, anyway) => found?,
        signal = signals.next() => return Ok(ExitCode::from(exit_code_of(signal))),
    };
    let bar = bar(name);
    let tell = |progress| match progress {
        PullProgress::Total(bytes) => bar.set_length(bytes),
        PullProgress::Got(bytes) => bar.inc(bytes),
        PullProgress::Lost(bytes) => bar.dec(bytes),
    };
    let pulled = tokio::select! {
        pulled = found.pull(&tell) => pulled,
        signal = signals.next() => {
            // Finishing moves the bar to its end.
            let got = DecimalBytes(bar.position());
            bar.finish_and_clear();
            say(format_args!("stopped at {got}; pull again to go on from there"));
            return Ok(ExitCode::from(exit_code_of(signal)));
        }
    };
    bar.finish_and_clear();
    let (folder, size) = (pulled?, DecimalBytes(bar.position()));
    say(format_args!("pulled {size} in {:.1} s; run it with: anyclaude --model {name}", started.elapsed().as_secs_f64()));
    print(&format!("{}\n", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A progress bar; without a terminal, a line and a hidden bar.
fn bar(name: &ModelName) -> ProgressBar {
    if !console::user_attended_stderr() {
        say(format_args!("pulling {name}"));
        return ProgressBar::hidden();
    }
    // The test below parses the template.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message(format!("pulling {name}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

const TEMPLATE: &str = "{spinner} {msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";

/// Finds a model at the hub, and says what is known of it.
///
/// # Errors
/// The hub does not give it, or it does not run here and is not wanted `anyway`.
async fn look<'a>(
    hub: &'a HubClient,
    cache: &'a HubCache,
    name: &'a ModelName,
    anyway: bool,
) -> Result<FoundModel<'a>, CliError> {
    let found = FoundModel::find(hub, cache, name).await?;
    say_forecast(&found, name, anyway).await?;
    Ok(found)
}

/// Says what a model will take here, as its configuration tells.
///
/// # Errors
/// The configuration cannot be had, or the model does not run here and is not wanted `anyway`.
#[cfg(feature = "mlx")]
async fn say_forecast(found: &FoundModel<'_>, name: &ModelName, anyway: bool) -> Result<(), CliError> {
    use crate::cli::blocking;
    use crate::cli::local_model::{ForecastError, forecast};

    let (config, weight_bytes) = (found.file("config.json").await?, found.weight_bytes());
    match blocking(move || Ok(forecast(&config, weight_bytes))).await? {
        Ok(sentence) => say(format_args!("{name}: {sentence}")),
        Err(ForecastError::NotSupported(reason)) if !anyway => {
            return Err(CliError::input(format!("{name} does not run here: {reason}; --anyway pulls it all the same")));
        }
        Err(error) => say(format_args!("{name}: {error}")),
    }
    Ok(())
}

/// Without the engine nothing runs here, so there is nothing to say of it.
#[cfg(not(feature = "mlx"))]
async fn say_forecast(_found: &FoundModel<'_>, _name: &ModelName, _anyway: bool) -> Result<(), CliError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
