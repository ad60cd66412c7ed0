//! Computing ahead what every conversation begins with, and saying so meanwhile.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::{CacheControl, WarmUpReport};
use crate::cli::say;
use crate::wire::MessagesRequest;

/// How often it is looked how far the warm-up is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a warm-up may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_millis(500);

/// Has the tools and system prompt of an earlier request computed. Returns when they are in the prefix cache; where that fails,
/// the first request takes longer, and that is all.
pub async fn warm_up(cache: &dyn CacheControl, request: MessagesRequest) {
    let started = Instant::now();
    let bar = bar();
    if let Err(error) = cache.warm_up(request).await {
        bar.finish_and_clear();
        return say(format_args!("not warmed: {error}"));
    }
    let (asked, mut begun) = (Instant::now(), false);
    loop {
        match cache.report().and_then(|report| report.warming) {
            Some(WarmUpReport { done, total }) => {
                begun = true;
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            None if begun || asked.elapsed() > BEGINS_WITHIN => break,
            None => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bar.finish_and_clear();
    say(format_args!("warmed in {:.1} s", started.elapsed().as_secs_f64()));
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
