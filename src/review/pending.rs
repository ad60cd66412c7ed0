//! A pending snapshot with everything that a reviewer is shown of it.

use std::path::Path;

use crate::replay::{Acceptance, Finding, Kind, header_changes, last_user_turn};
use crate::snapshot::{Matching, Outcome, PendingFile, Snapshot, SnapshotError, pending_name};
use crate::trace::{self, messages_request, recorded_message};

/// A pending snapshot and how it compares with what is accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingOutcome {
    /// The exchange's name, such as `read-file/0001`.
    pub id: String,
    /// What is accepted so far.
    pub accepted: Option<Snapshot>,
    /// What came.
    pub snapshot: Snapshot,
    /// The accepted outcome that differs least, if any.
    pub nearest: Option<Outcome>,
    /// What came, with accepted values wherever a match rule covers the difference.
    pub seen: Outcome,
    /// How `seen` differs from `nearest`, and the prompt from the accepted one; the most important first.
    pub findings: Vec<Finding>,
}

impl PendingOutcome {
    /// What a pending file holds, compared with the accepted one beside it.
    ///
    /// # Errors
    /// One of them is not a snapshot.
    pub fn of(file: &PendingFile, settings: &Matching) -> Result<Self, SnapshotError> {
        Ok(Self::new(pending_name(file.path()), file.accepted()?, file.pending()?, settings))
    }

    /// Compares a pending snapshot with the accepted one.
    pub fn new(id: String, accepted: Option<Snapshot>, snapshot: Snapshot, settings: &Matching) -> Self {
        let nearest = Acceptance::new(accepted.as_ref(), settings).nearest(&snapshot.outcome, "");
        let (nearest, seen, mut findings) = match nearest {
            Some(nearest) => (Some(nearest.accepted), nearest.seen, nearest.findings),
            None => (None, snapshot.outcome.clone(), vec![Finding::said(Kind::NoSnapshot, "nothing is accepted yet")]),
        };
        let headers = accepted.as_ref().and_then(|old| old.metadata.info.as_ref()).zip(snapshot.metadata.info.as_ref());
        findings.extend(headers.into_iter().flat_map(|(old, new)| header_changes(old, new, 0)));
        Self { id, accepted, snapshot, nearest, seen, findings }
    }
}

/// What the trace of a pending snapshot holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Recording {
    /// The last user turn, and the recorded answer's outcome if there was an answer.
    Known {
        /// What the user said last, or what tools gave.
        turn: String,
        /// Tools and messages of the request, in words.
        request: String,
        /// The outcome of the recorded answer.
        outcome: Option<Outcome>,
    },
    /// It cannot be read.
    Missing(String),
}

impl Recording {
    /// Reads the trace that the snapshot names.
    pub fn read(snapshot: &Snapshot) -> Self {
        let Some(path) = &snapshot.metadata.input_file else { return Self::Missing("the snapshot names no trace".into()) };
        match trace::read(Path::new(path)) {
            Err(error) => Self::Missing(error.to_string()),
            Ok(trace) => {
                let request = messages_request(&trace);
                let words = request.as_ref().map(|request| {
                    let tools: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
                    format!("{} messages to {}, tools {}", request.messages.len(), request.model, tools.join(", "))
                });
                Self::Known {
                    turn: request.as_ref().map(last_user_turn).unwrap_or_default(),
                    request: words.unwrap_or_default(),
                    outcome: recorded_message(&trace).as_ref().map(Outcome::from),
                }
            }
        }
    }

    /// The outcome of the recorded answer.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Known { outcome, .. } => outcome.as_ref(),
            Self::Missing(_) => None,
        }
    }
}
