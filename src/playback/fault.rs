//! What goes wrong on purpose.

use std::fmt;
use std::str::FromStr;

use crate::backend::BackendError;
use crate::wire::{ErrorBody, ErrorKind};

/// Something that goes wrong with one of the requests. Written `529@3` or `cut@5`.
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
    /// The answer breaks off in the middle.
    Cut,
}

impl Fault {
    /// The error of a status.
    pub(super) fn error(status: u16) -> BackendError {
        let body = ErrorBody::new(ErrorKind::of_status(status), "planned with --fault");
        BackendError::Answered { status, body, retry_after: None }
    }

    /// The error behind the half of an answer.
    pub(super) fn cut() -> BackendError {
        BackendError::new(ErrorKind::Api, "the answer broke off, as planned with --fault")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            FaultKind::Status(status) => write!(f, "{status}@{}", self.nth),
            FaultKind::Cut => write!(f, "cut@{}", self.nth),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = |text: &str| match text {
            "cut" => Some(FaultKind::Cut),
            status => status.parse().ok().filter(|status| (400..600).contains(status)).map(FaultKind::Status),
        };
        let parsed = text.split_once('@').and_then(|(what, nth)| Some(Self { kind: kind(what)?, nth: nth.parse().ok()? }));
        let fault = parsed.filter(|fault| fault.nth > 0);
        fault.ok_or_else(|| {
            "a fault is a status from 400 to 599 or cut, and with which request, such as 529@3 or cut@5".to_owned()
        })
    }
}
