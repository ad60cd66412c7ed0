//! Saying what requests lose on their way to a model, once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::convert::Omitted;

/// The names that were said already: clients send the same blocks and fields with every request.
#[derive(Default)]
pub(crate) struct OmissionLog(Mutex<HashSet<String>>);

impl OmissionLog {
    /// The names that have not been said yet, in one text; `None` if all have.
    pub(crate) fn new_names(&self, omitted: &Omitted) -> Option<String> {
        // A thread that panicked with the lock leaves the set usable.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = omitted.names().filter(|name| said.insert((*name).to_owned())).collect();
        (!new.is_empty()).then(|| new.join(", "))
    }
}
