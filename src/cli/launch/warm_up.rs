//! Computing ahead what every conversation begins with, and saying so meanwhile.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::CacheControl;
use crate::cli::say;
use crate::wire::MessagesRequest;

/// Has the tools and system prompt of an earlier request computed. Returns when they are in the prefix cache; where that fails,
/// the first request takes longer, and that is all.
pub async fn warm_up(cache: &dyn CacheControl, request: MessagesRequest) {
    const WHAT: &str = "the tools and system prompt of the last recording";
    let started = Instant::now();
    let spinner = ProgressBar::new_spinner();
    if console::user_attended_stderr() {
        // The template is fixed: it has no mistake to report.
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        spinner.set_message(format!("warming: {WHAT}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
    } else {
        say(format_args!("warming: {WHAT}"));
    }
    let warmed = cache.keep_shared_prefix(request).await;
    spinner.finish_and_clear();
    match warmed {
        Ok(()) => say(format_args!("warmed in {:.1} s", started.elapsed().as_secs_f64())),
        Err(error) => say(format_args!("not warmed: {error}")),
    }
}
