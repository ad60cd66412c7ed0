//! Computing ahead what every conversation begins with, behind a progress bar.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::origin::{RunningOrigin, trim_rules};
use crate::backend::{CacheControl, WarmUpReport};
use crate::cli::local_model::{self, CacheArgs};
use crate::cli::{CliError, blocking, say};
use crate::config::{Settings, expand_home};

/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(50);

/// Computes the tools and system prompt of the newest recording ahead, if the engine is in this process and there is a recording;
/// returns when the prefix cache has them. If that fails, the first request takes longer, and that is all.
pub(super) async fn warm_up(origin: &RunningOrigin, settings: &Settings) -> Result<(), CliError> {
    let Some(cache) = origin.engine().and_then(|engine| engine.cache()) else { return Ok(()) };
    let (arguments, traces) = (local_model::from_env::<CacheArgs>()?, expand_home(&settings.traces));
    let Some(request) = blocking(move || arguments.warm_up(&traces)).await? else { return Ok(()) };
    let started = Instant::now();
    let bar = bar();
    let outcome = show_progress(&bar, cache, cache.warm_up(trim_rules(settings).apply(request))).await;
    bar.finish_and_clear();
    match outcome {
        Ok(()) => say(format_args!("warmed in {:.1} s", started.elapsed().as_secs_f64())),
        Err(error) => say(format_args!("the warm-up failed: {error}")),
    }
    Ok(())
}

/// Moves the bar until the warm-up ends.
async fn show_progress<T>(bar: &ProgressBar, cache: &dyn CacheControl, warm_up: impl Future<Output = T>) -> T {
    let mut warm_up = std::pin::pin!(warm_up);
    let mut refresh = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            outcome = &mut warm_up => return outcome,
            _ = refresh.tick() => {
                if let Some(WarmUpReport { done, total }) = cache.report().and_then(|report| report.warming) {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                }
            }
        }
    }
}

/// A progress bar; without a terminal, a line and a hidden bar.
fn bar() -> ProgressBar {
    const WHAT: &str = "warming: the tools and system prompt of the last recording";
    if !console::user_attended_stderr() {
        say(WHAT);
        return ProgressBar::hidden();
    }
    // The test below parses the template.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.with_message(WHAT)
}

const TEMPLATE: &str = "{spinner} {msg}, {human_pos} of {human_len} tokens";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
