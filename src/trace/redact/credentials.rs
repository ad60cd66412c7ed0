//! The client's own credentials, which are secrets wherever they turn up.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, BuildError};

use super::detector::Detector;
use super::spans::SecretSpans;

/// The credentials of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials(Option<Arc<CredentialSearch>>);

#[derive(Debug)]
struct CredentialSearch {
    automaton: NFA,
    start: StateID,
    /// How many bytes of a credential the text ends with, in each state.
    depths: HashMap<StateID, usize>,
}

impl Credentials {
    /// # Errors
    /// The credentials have gigabytes.
    pub(crate) fn new(credentials: &[String]) -> Result<Self, BuildError> {
        if credentials.is_empty() {
            return Ok(Self(None));
        }
        let automaton = NFA::new(credentials)?;
        // An automaton without options starts anywhere.
        let Ok(start) = automaton.start_state(Anchored::No) else { return Ok(Self(None)) };
        let mut depths = HashMap::new();
        for credential in credentials {
            let mut state = start;
            for (index, byte) in credential.bytes().enumerate() {
                state = automaton.next_state(Anchored::No, state, byte);
                depths.insert(state, index + 1);
            }
        }
        Ok(Self(Some(Arc::new(CredentialSearch { automaton, start, depths }))))
    }

    /// What finds them; `None` if there are none.
    pub(crate) fn detector(&self) -> Option<OwnCredentials> {
        self.0.clone().map(|search| OwnCredentials { state: search.start, at: 0, search })
    }
}

/// The detector of these credentials.
pub(super) struct OwnCredentials {
    search: Arc<CredentialSearch>,
    state: StateID,
    at: usize,
}

impl Detector for OwnCredentials {
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        let automaton = &self.search.automaton;
        self.state = automaton.next_state(Anchored::No, self.state, byte);
        self.at = at + 1;
        if automaton.is_match(self.state) {
            // The first is the longest, and the others end it.
            let longest = automaton.pattern_len(automaton.match_pattern(self.state, 0));
            found.push(self.at - longest..self.at);
        }
    }

    fn end(&mut self, _at: usize, _found: &mut SecretSpans) {
        self.state = self.search.start;
    }

    fn undecided(&self) -> Option<usize> {
        self.search.depths.get(&self.state).map(|depth| self.at - depth)
    }

    fn open(&self) -> Option<usize> {
        None
    }
}
