//! What the times of a replay are held against: the figures of an earlier one, and budgets.

use super::args::ReplayArgs;
use crate::cli::CliError;
use crate::report::{Baseline, Budgets, Report};

/// What the times are held against.
pub(super) struct Expectations {
    baseline: Option<Baseline>,
    max_slower: Option<f64>,
    budgets: Budgets,
}

impl Expectations {
    /// Reads the baseline, before anything is measured. One of another machine is refused, unless that is meant.
    pub(super) fn read(args: &ReplayArgs, budgets: Budgets) -> Result<Self, CliError> {
        let Some(path) = &args.baseline else { return Ok(Self { baseline: None, max_slower: None, budgets }) };
        let unusable = |reason: String| CliError::input(format!("--baseline {}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let baseline = Baseline::parse(&text).map_err(|error| unusable(error.to_string()))?;
        let (there, here) = (baseline.host(), host_name());
        if there != here && !args.other_host {
            let reason = format!("its times are of {there}, and this is {here}; --other-host compares them all the same");
            return Err(unusable(reason));
        }
        Ok(Self { baseline: Some(baseline), max_slower: args.max_slower, budgets })
    }

    /// Adds to the report how its figures compare.
    pub(super) fn compare(&self, report: &mut Report) {
        report.compare(self.baseline.as_ref().map(|baseline| (baseline, self.max_slower)), &self.budgets);
    }
}

/// The name of this machine, as times on another one mean something else.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
