//! What goes wrong on purpose.

use std::fmt;
use std::str::FromStr;

use crate::backend::BackendError;
use crate::wire::{ErrorBody, ErrorKind};

/// Something that goes wrong with one of the requests. Written `529@3`, `cut@5` or `error@6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// With which request for a message, from 1.
    pub nth: usize,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request is answered with this status.
    Status(u16),
    /// The connection breaks in the middle of the answer.
    Cut,
    /// The answer ends in the middle with an `error` event.
    Error,
}

impl Fault {
    /// The error of a status.
    pub(super) fn error(status: u16) -> BackendError {
        let body = ErrorBody::new(ErrorKind::of_status(status), "planned with --fault");
        BackendError::Answered { status, body, retry_after: None }
    }

    /// The first request for which several of these faults are.
    pub fn twice(faults: &[Self]) -> Option<usize> {
        let mut requests: Vec<usize> = faults.iter().map(|fault| fault.nth).collect();
        requests.sort_unstable();
        requests.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

impl FaultKind {
    /// What comes behind the half of an answer; `None` if no half of it comes.
    pub(super) fn behind_half(self) -> Option<BackendError> {
        match self {
            Self::Status(_) => None,
            Self::Cut => Some(BackendError::BrokenOff),
            Self::Error => Some(BackendError::new(ErrorKind::Api, "planned with --fault")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            FaultKind::Status(status) => write!(f, "{status}@{}", self.nth),
            FaultKind::Cut => write!(f, "cut@{}", self.nth),
            FaultKind::Error => write!(f, "error@{}", self.nth),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = |text: &str| match text {
            "cut" => Some(FaultKind::Cut),
            "error" => Some(FaultKind::Error),
            status => status.parse().ok().filter(|status| (400..600).contains(status)).map(FaultKind::Status),
        };
        let parsed = text.split_once('@').and_then(|(what, nth)| Some(Self { kind: kind(what)?, nth: nth.parse().ok()? }));
        let fault = parsed.filter(|fault| fault.nth > 0);
        fault.ok_or_else(|| {
            "a fault is a status from 400 to 599, cut or error, and with which request, such as 529@3 or cut@5".to_owned()
        })
    }
}
