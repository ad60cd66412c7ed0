//! Saying what requests lose on their way to a model, once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::convert::Omitted;

/// Most names that are kept and said: a client may make up new ones for ever.
const MOST_NAMES: usize = 1_000;

/// Longest part of a name that is kept and said, in characters.
const LONGEST_NAME: usize = 100;

/// The names that were said already: clients send the same blocks and fields with every request.
#[derive(Default)]
pub(crate) struct OmissionLog(Mutex<HashSet<String>>);

impl OmissionLog {
    /// The names that have not been said yet, in one text; `None` if all have.
    pub(crate) fn new_names(&self, omitted: &Omitted) -> Option<String> {
        // A thread that panicked with the lock leaves the set usable.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = omitted.names().map(|name| name.chars().take(LONGEST_NAME).collect::<String>());
        let new: Vec<_> = names.filter(|name| said.len() < MOST_NAMES && said.insert(name.clone())).collect();
        (!new.is_empty()).then(|| new.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use crate::wire::MessagesRequest;

    fn of_fields(names: impl Iterator<Item = String>) -> Omitted {
        let mut request = serde_json::json!({"model": "m", "max_tokens": 1, "messages": []});
        names.for_each(|name| request[name] = 1.into());
        convert::unread_fields(&serde_json::from_value::<MessagesRequest>(request).unwrap())
    }

    #[test]
    fn each_name_is_said_once_and_their_number_and_length_are_bounded() {
        let log = OmissionLog::default();
        let new = |names: &[&str]| log.new_names(&of_fields(names.iter().map(|name| (*name).to_owned())));
        assert_eq!(new(&["b", "a"]).as_deref(), Some("a, b"));
        assert_eq!(new(&["a", "c"]).as_deref(), Some("c"));
        assert_eq!(new(&["a"]), None);
        assert_eq!(new(&[&"x".repeat(1_000_000)]).map(|said| said.len()), Some(LONGEST_NAME));
        let many = log.new_names(&of_fields((0..2_000).map(|at| format!("field{at}")))).unwrap();
        assert_eq!(many.split(", ").count(), MOST_NAMES - 4);
        assert_eq!(new(&["d"]), None);
    }
}
