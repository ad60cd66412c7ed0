//! Which traces came to something else in the second of two replays. Pure.

use std::collections::{HashMap, HashSet};

use super::{FinishedRun, RunCase};
use crate::replay::Status;

/// A trace that came to something else.
#[derive(Clone, Copy, Debug)]
pub struct Flip<'a> {
    /// What came of it in the first replay.
    pub before: &'a RunCase,
    /// What came of it in the second; `None` if it was not replayed there.
    pub now: Option<&'a RunCase>,
}

/// The traces of two replays, by what became of them.
#[derive(Clone, Debug, Default)]
pub struct Flips<'a> {
    /// Those that the first had and the second has not.
    pub lost: Vec<Flip<'a>>,
    /// Those that the second has and the first had not.
    pub won: Vec<Flip<'a>>,
    /// Those that neither has more than the other, and that came to something else.
    pub changed: Vec<Flip<'a>>,
    /// How many came to the same.
    pub same: usize,
    /// How many only the second replay has.
    pub added: usize,
    /// Whether the first replay did all that was planned, and whether the second did.
    pub finished: [bool; 2],
}

/// How much a status is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Not as it should be, or nothing at all.
    Nothing,
    /// Answered, and nobody has said yet whether rightly.
    Answered,
    /// As accepted.
    Accepted,
}

impl<'a> Flips<'a> {
    /// Compares what came of each trace.
    pub fn between(before: &'a FinishedRun, now: &'a FinishedRun) -> Self {
        let there: HashMap<&str, &RunCase> = now.cases.iter().map(|case| (case.id.as_str(), case)).collect();
        let known: HashSet<&str> = before.cases.iter().map(|case| case.id.as_str()).collect();
        let added = there.keys().filter(|id| !known.contains(*id)).count();
        let mut flips = Self { added, finished: [before, now].map(FinishedRun::is_finished), ..Self::default() };
        for before in &before.cases {
            let flip = Flip { before, now: there.get(before.id.as_str()).copied() };
            let worth_now = flip.now.map_or(Worth::Nothing, |case| worth(case.status));
            match worth_now.cmp(&worth(before.status)) {
                std::cmp::Ordering::Less => flips.lost.push(flip),
                std::cmp::Ordering::Greater => flips.won.push(flip),
                std::cmp::Ordering::Equal if flip.is_alike() => flips.same += 1,
                std::cmp::Ordering::Equal => flips.changed.push(flip),
            }
        }
        flips
    }

    /// 1 if the second replay lost a trace that the first had; otherwise 3 if one of them did not finish, so that nobody knows.
    pub fn exit_code(&self) -> u8 {
        match (self.lost.is_empty(), self.finished) {
            (false, _) => 1,
            (true, [true, true]) => 0,
            (true, _) => 3,
        }
    }
}

impl Flip<'_> {
    /// Whether nothing that is worth a line differs. What is accepted may differ, where several outcomes are accepted.
    fn is_alike(&self) -> bool {
        let Some(now) = self.now else { return false };
        let is_accepted = worth(now.status) == Worth::Accepted;
        is_accepted || (now.status == self.before.status && now.usual() == self.before.usual())
    }
}

fn worth(status: Status) -> Worth {
    match status {
        Status::AsAccepted | Status::Updated => Worth::Accepted,
        Status::New => Worth::Answered,
        Status::Failed
        | Status::PhaseFailure
        | Status::MalformedArguments
        | Status::Flaky
        | Status::CacheFailure
        | Status::Changed
        | Status::Interrupted => Worth::Nothing,
    }
}
