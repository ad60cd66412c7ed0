//! Carrying out decisions, and counting them.

use std::fmt;
use std::path::Path;

use console::style;

use super::{CliError, print};
use crate::review::Decision;
use crate::snapshot::{accept, accept_beside, reject};

/// How many snapshots were accepted, rejected and skipped.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub accepted: usize,
    pub rejected: usize,
    pub covered: usize,
    pub skipped: usize,
}

impl Tally {
    /// Does what was decided with a pending file, and says so.
    pub(super) fn carry_out(&mut self, pending: &Path, decision: Decision) -> Result<(), CliError> {
        match decision {
            Decision::Accept | Decision::AcceptBeside => {
                let accept = if decision == Decision::Accept { accept } else { accept_beside };
                let accepted = accept(pending)?;
                print(&format!("{} {}\n", style("accepted").green(), accepted.display()))?;
                self.accepted += 1;
            }
            Decision::Reject => {
                reject(pending)?;
                print(&format!("{} {}\n", style("rejected").red(), pending.display()))?;
                self.rejected += 1;
            }
            Decision::Covered => {
                reject(pending)?;
                print(&format!("{} {}: equal under the new rules\n", style("removed").cyan(), pending.display()))?;
                self.covered += 1;
            }
            Decision::Skip => self.skipped += 1,
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { accepted, rejected, covered, skipped } = self;
        let covered = if *covered > 0 { format!(", {covered} equal under new rules") } else { String::new() };
        writeln!(f, "\nReviewed: {accepted} accepted, {rejected} rejected{covered}, {skipped} still pending")
    }
}
