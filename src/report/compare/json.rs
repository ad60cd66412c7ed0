//! Two replays beside each other as a JSON file.

use schemars::JsonSchema;
use serde::Serialize;

use super::figures::figures;
use super::terminal::notes;
use super::{FinishedRun, Flip, Flips, RunCase, RunFigure, RunTarget};
use crate::replay::{Finding, Status};
use crate::snapshot::Outcome;

/// Version of the JSON layout.
const VERSION: u32 = 1;

/// Two replays beside each other. Serialized, it is the JSON file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compared<'a> {
    /// The version of this layout.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// What answered in the first replay.
    a: &'a RunTarget,
    /// What answered in the second.
    b: &'a RunTarget,
    /// Whether A did all that was planned, and whether B did.
    finished: [bool; 2],
    /// The traces that A had and B has not.
    lost: Vec<ComparedTrace<'a>>,
    /// Those that B has and A had not.
    won: Vec<ComparedTrace<'a>>,
    /// Those that neither has more than the other, and that came to something else.
    changed: Vec<ComparedTrace<'a>>,
    /// How many came to the same.
    same: usize,
    /// How many only B has.
    added: usize,
    /// Times and cache hits of the traces that both measured.
    figures: Vec<RunFigure>,
    /// What makes the figures or the outcomes less comparable than they look.
    notes: Vec<String>,
}

/// A trace that came to something else.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparedTrace<'a> {
    /// The trace's name.
    id: &'a str,
    /// What came of it in A.
    a: ComparedAnswer<'a>,
    /// What came of it in B; null if it was not replayed there.
    b: Option<ComparedAnswer<'a>>,
}

/// What came of a trace in one of the replays.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparedAnswer<'a> {
    /// The result in one word.
    status: Status,
    /// The most important thing that is not as it should be or as accepted; null if there is none.
    finding: Option<&'a Finding>,
    /// The answer that came most often; null if there is none.
    outcome: Option<&'a Outcome>,
}

impl<'a> Compared<'a> {
    /// What differs between these replays.
    pub fn of(before: &'a FinishedRun, now: &'a FinishedRun, flips: &Flips<'a>) -> Self {
        let traces = |flips: &[Flip<'a>]| flips.iter().copied().map(ComparedTrace::of).collect();
        Self {
            version: VERSION,
            a: &before.target,
            b: &now.target,
            finished: flips.finished,
            lost: traces(&flips.lost),
            won: traces(&flips.won),
            changed: traces(&flips.changed),
            same: flips.same,
            added: flips.added,
            figures: figures(before, now),
            notes: notes(before, now, flips),
        }
    }

    /// The JSON file.
    pub fn to_json(&self) -> String {
        // String-keyed maps, strings and numbers only: serializing them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl<'a> ComparedTrace<'a> {
    fn of(Flip { before, now }: Flip<'a>) -> Self {
        Self { id: &before.id, a: ComparedAnswer::of(before), b: now.map(ComparedAnswer::of) }
    }
}

impl<'a> ComparedAnswer<'a> {
    fn of(case: &'a RunCase) -> Self {
        Self { status: case.status, finding: case.finding(), outcome: case.usual() }
    }
}
