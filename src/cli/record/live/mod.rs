//! The live view of a recorder on a terminal: a line for each request in flight, and what all came to.

mod bill;
mod foreign;
mod overview;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use console::{Term, truncate_str};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

pub(in crate::cli) use self::bill::Prices;
pub(super) use self::foreign::foreign;
use self::overview::Overview;

/// What the view shows. The bar draws it whenever it ticks.
#[derive(Clone, Debug)]
pub(super) struct SharedOverview(Arc<Mutex<Overview>>);

impl SharedOverview {
    /// Of a recorder that has just started.
    pub(super) fn new(prices: Prices) -> Self {
        Self(Arc::new(Mutex::new(Overview::new(prices))))
    }

    /// What is known now.
    pub(super) fn now(&self) -> MutexGuard<'_, Overview> {
        // No change of it stops half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bar that shows the overview below a line that names the recorder. Other lines are printed above it.
pub(super) fn bar(recorder: &str, overview: SharedOverview) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The test below parses the template.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let write = move |_: &ProgressState, out: &mut dyn fmt::Write| {
        let (height, width) = Term::stderr().size();
        let (height, width) = (usize::from(height), usize::from(width));
        let lines = overview.now().lines(Instant::now(), height.saturating_sub(OWN_LINES));
        let lines: Vec<_> = lines.iter().map(|line| truncate_str(line, width, "…")).collect();
        // Fails only if the bar's own text cannot grow.
        out.write_str(&lines.join("\n")).ok();
    };
    bar.set_style(style.with_key("overview", write));
    bar.set_prefix(recorder.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// The lines of the view beside the overview's: that which names the recorder, and where the cursor stands.
const OWN_LINES: usize = 2;

const TEMPLATE: &str = "{spinner} {prefix}\n{overview}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
