//! Saying what requests lose on their way to a model, once in the life of the process.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::convert::Omitted;

/// Most names that are kept and said: a client may make up new ones for ever.
const MOST_NAMES: usize = 1_000;

/// Longest part of a name that is kept and said, in characters.
const LONGEST_NAME: usize = 100;

/// Why something of a request has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WhyOmitted {
    /// The request came in one of OpenAI's protocols.
    NothingReadsIt,
    /// The local model has no use for it.
    #[cfg_attr(not(feature = "mlx"), allow(dead_code, reason = "there is no local model"))]
    NoEffect,
    /// The local model sees neither pictures nor files, and Anthropic's servers run no tools for it.
    #[cfg_attr(not(feature = "mlx"), allow(dead_code, reason = "there is no local model"))]
    TextOnly,
    /// The backend is a chat server.
    NoCounterpart,
}

impl WhyOmitted {
    fn words(self) -> &'static str {
        match self {
            Self::NothingReadsIt => "left out of requests, as nothing here reads them",
            Self::NoEffect => "left out of requests, as this model has no use for them",
            Self::TextOnly => {
                "described to this model or left out, as it sees text only and Anthropic's servers run no tools for it"
            }
            Self::NoCounterpart => "left out of requests, as the chat protocol has no counterpart",
        }
    }
}

/// Logs the names that no earlier request of this process has lost for the same reason: clients send the same blocks and fields
/// with every request. Once [`MOST_NAMES`] are said, no further ones are.
pub(crate) fn say_omitted(omitted: &Omitted, why: WhyOmitted) {
    static SAID: LazyLock<OmissionLog> = LazyLock::new(OmissionLog::default);
    if let Some(names) = SAID.new_names(omitted, why) {
        tracing::warn!("{}: {names}", why.words());
    }
}

/// The names that were said already.
#[derive(Default)]
struct OmissionLog(Mutex<HashSet<(WhyOmitted, String)>>);

impl OmissionLog {
    /// The names that have not been said yet, in one text; `None` if all have.
    fn new_names(&self, omitted: &Omitted, why: WhyOmitted) -> Option<String> {
        if omitted.is_empty() {
            return None;
        }
        // A thread that panicked with the lock leaves the set usable.
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = omitted.names().map(|name| name.chars().take(LONGEST_NAME).collect::<String>());
        let new: Vec<_> = names.filter(|name| said.len() < MOST_NAMES && said.insert((why, name.clone()))).collect();
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
        let of = |names: &[&str]| of_fields(names.iter().map(|name| (*name).to_owned()));
        let new = |names: &[&str]| log.new_names(&of(names), WhyOmitted::NoEffect);
        assert_eq!(new(&["b", "a"]).as_deref(), Some("a, b"));
        assert_eq!(new(&["a", "c"]).as_deref(), Some("c"));
        assert_eq!(new(&["a"]), None);
        assert_eq!(log.new_names(&of(&["a"]), WhyOmitted::NoCounterpart).as_deref(), Some("a"));
        assert_eq!(new(&[&"x".repeat(1_000_000)]).map(|said| said.len()), Some(LONGEST_NAME));
        let many = log.new_names(&of_fields((0..2_000).map(|at| format!("field{at}"))), WhyOmitted::NoEffect).unwrap();
        assert_eq!(many.split(", ").count(), MOST_NAMES - 5);
    }
}
