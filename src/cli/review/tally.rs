//! Carrying out decisions, and counting them.

use std::fmt;

use console::style;

use super::{CliError, print};
use crate::review::Decision;
use crate::snapshot::{PendingFile, SnapshotError};

/// How many snapshots were accepted, rejected and skipped.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub accepted: usize,
    pub rejected: usize,
    pub covered: usize,
    pub skipped: usize,
    /// Those that could not be read, or for which the decision could not be carried out.
    pub left: usize,
    /// Whether match rules were made that could not be added to the settings.
    pub rules_left: bool,
}

impl Tally {
    /// Does what was decided with a pending file, and says so. Where that fails, it says why and leaves the file: one is no reason
    /// to lose the other decisions.
    pub(super) fn carry_out(&mut self, file: &PendingFile, decision: Decision) -> Result<(), CliError> {
        match self.try_to(file, decision) {
            Ok(said) => print(&said),
            Err(error) => self.leave(&error),
        }
    }

    /// Counts a file that stays as it is, and says why.
    pub(super) fn leave(&mut self, error: &SnapshotError) -> Result<(), CliError> {
        self.left += 1;
        print(&format!("{} {error}\n", style("left").yellow()))
    }

    /// Ends with an error if anything could not be done.
    pub(super) fn check_complete(&self) -> Result<(), CliError> {
        match (self.left, self.rules_left) {
            (0, false) => Ok(()),
            (0, true) => Err(CliError::input("the match rules were not added; add them by hand, and replay again")),
            (left, _) => Err(CliError::input(format!("pending files left as they are: {left}; above is why"))),
        }
    }

    fn try_to(&mut self, file: &PendingFile, decision: Decision) -> Result<String, SnapshotError> {
        let pending = file.path().display();
        Ok(match decision {
            Decision::Accept | Decision::AcceptBeside => {
                let accepted = if decision == Decision::Accept { file.accept() } else { file.accept_beside() }?;
                self.accepted += 1;
                format!("{} {}\n", style("accepted").green(), accepted.display())
            }
            Decision::Reject => {
                file.reject()?;
                self.rejected += 1;
                format!("{} {pending}\n", style("rejected").red())
            }
            Decision::Covered => {
                file.reject()?;
                self.covered += 1;
                format!("{} {pending}: equal under the new rules\n", style("removed").cyan())
            }
            Decision::Skip => {
                self.skipped += 1;
                String::new()
            }
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { accepted, rejected, covered, skipped, left, .. } = self;
        let covered = if *covered > 0 { format!(", {covered} equal under new rules") } else { String::new() };
        let left = if *left > 0 { format!(", {left} left as they are") } else { String::new() };
        writeln!(f, "\nReviewed: {accepted} accepted, {rejected} rejected{covered}, {skipped} still pending{left}")
    }
}
