//! Computing ahead what every conversation begins with, and saying so meanwhile.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::{CacheControl, WarmUpReport};
use crate::cli::say;
use crate::wire::MessagesRequest;

/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(50);

/// Computes the tools and system prompt of an earlier request ahead; returns when the prefix cache has them. If that fails, the
/// first request takes longer, and that is all.
pub async fn warm_up(cache: &dyn CacheControl, request: MessagesRequest) {
    let started = Instant::now();
    let bar = bar();
    let outcome = show_progress(&bar, cache, cache.warm_up(request)).await;
    bar.finish_and_clear();
    match outcome {
        Ok(()) => say(format_args!("warmed in {:.1} s", started.elapsed().as_secs_f64())),
        Err(error) => say(format_args!("the warm-up failed: {error}")),
    }
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

/// A bar on a terminal, a line elsewhere.
fn bar() -> ProgressBar {
    const WHAT: &str = "warming: the tools and system prompt of the last recording";
    if !console::user_attended_stderr() {
        say(WHAT);
        return ProgressBar::hidden();
    }
    // The template is fixed: it has no mistake to report.
    let style = ProgressStyle::with_template("{spinner} {msg}, {human_pos} of {human_len} tokens");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar.with_message(WHAT)
}
