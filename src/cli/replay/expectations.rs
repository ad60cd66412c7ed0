//! What the figures of a replay are held against: those of an earlier one, and budgets.

use super::args::ReplayArgs;
use crate::backend::Backend;
use crate::cli::CliError;
use crate::cli::answerer::host_name;
use crate::replay::KnownAnswers;
use crate::report::{Baseline, Budgets, Limits, Report};
use crate::snapshot::ModelDigest;

/// What the figures are held against.
pub(super) struct Expectations {
    baseline: Option<Baseline>,
    limits: Limits,
    /// Whether to ask how sure the model is.
    margins: bool,
    budgets: Budgets,
}

impl Expectations {
    /// Reads the baseline, before anything is measured. One of another machine is refused, unless that is meant.
    pub(super) fn read(args: &ReplayArgs, budgets: Budgets) -> Result<Self, CliError> {
        let limits = Limits { max_slower: args.max_slower, max_drop: args.max_drop };
        let margins = args.wants_margins();
        let Some(path) = &args.baseline else { return Ok(Self { baseline: None, limits, margins, budgets }) };
        let unusable = |reason: String| CliError::input(format!("--baseline {}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let baseline = Baseline::parse(&text).map_err(|error| unusable(error.to_string()))?;
        let (there, here) = (baseline.host(), host_name());
        if there != here && !args.other_host {
            let reason = format!("its times are of {there}, and this is {here}; --other-host compares them all the same");
            return Err(unusable(reason));
        }
        if args.max_drop.is_some() && baseline.known_answers().is_empty() {
            return Err(unusable("it has no margins; make it with --margins".into()));
        }
        Ok(Self { baseline: Some(baseline), limits, margins, budgets })
    }

    /// The accepted answers of the baseline, if it is asked how sure the model is. Their tokens mean something only to the
    /// tokenizer that made them.
    ///
    /// # Errors
    /// The backend cannot tell, or has another tokenizer.
    pub(super) fn known_answers(
        &self,
        backend: &dyn Backend,
        digest: Option<&ModelDigest>,
    ) -> Result<Option<KnownAnswers>, CliError> {
        if !self.margins {
            return Ok(None);
        }
        if backend.judge().is_none() {
            let reason = "--margins: this backend gives no log-probabilities; the engine in this process does, and servers that answer chat completions with `logprobs`, given as a plain URL";
            return Err(CliError::input(reason));
        }
        let Some(baseline) = &self.baseline else { return Ok(Some(KnownAnswers::new())) };
        let is_same = baseline.tokenizer() == digest.map(|digest| digest.tokenizer.as_str());
        match is_same || baseline.known_answers().is_empty() {
            true => Ok(Some(baseline.known_answers())),
            false => Err(CliError::input("--baseline: its margins are of another tokenizer, so they cannot be compared")),
        }
    }

    /// Adds to the report how its figures compare.
    pub(super) fn compare(&self, report: &mut Report) {
        report.compare(self.baseline.as_ref().map(|baseline| (baseline, self.limits)), &self.budgets);
    }
}
