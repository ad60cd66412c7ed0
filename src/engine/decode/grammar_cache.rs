//! Keeps compiled grammars and refusals, those used last, up to a number of bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use sha2::{Digest, Sha256};

use super::held_to::HeldTo;
use crate::engine::EngineError;

/// What an entry takes beside its grammar's automaton, in bytes, roughly: the rules, and the state of a parser.
const BYTES_OF_ENTRY: usize = 64 << 10;

/// The digest of a text that names everything that a grammar depends on.
type Key = [u8; 32];

/// A grammar, or why there is none.
type Outcome = Result<HeldTo, EngineError>;

/// Where the outcome is once it is known. Locked while it is being found out.
type Place = Arc<Mutex<Option<Outcome>>>;

/// The kept outcomes.
pub(super) struct GrammarCache {
    kept: Mutex<Kept>,
    /// Most bytes that are kept.
    most: usize,
}

struct Kept {
    places: LruCache<Key, (Place, usize)>,
    /// The sum of all places' bytes.
    bytes: usize,
}

impl GrammarCache {
    /// Keeps at most so many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Mutex::new(Kept { places: LruCache::unbounded(), bytes: 0 }), most }
    }

    /// The outcome for what this text names, found out on first use. Whoever asks meanwhile waits for it. Refusals are kept too, so
    /// that they cost nothing twice.
    ///
    /// # Errors
    /// There is no outcome. The next one who asks tries again.
    pub(super) fn get_or_make(
        &self,
        what: &str,
        make: impl FnOnce() -> Result<Outcome, EngineError>,
    ) -> Result<Outcome, EngineError> {
        let key: Key = Sha256::digest(what).into();
        let place = self.place(key);
        let mut outcome = locked(&place);
        if let Some(known) = &*outcome {
            return Ok(known.clone());
        }
        let made = make()?;
        *outcome = Some(made.clone());
        self.weigh(key, &place, &made);
        Ok(made)
    }

    fn place(&self, key: Key) -> Place {
        locked(&self.kept).places.get_or_insert(key, || (Place::default(), 0)).0.clone()
    }

    /// Notes the bytes of a new outcome, and forgets those not used for longest until all fit.
    fn weigh(&self, key: Key, place: &Place, made: &Outcome) {
        let mut kept = locked(&self.kept);
        // While it was made, its place may have been forgotten and taken by another.
        let Some((_, bytes)) = kept.places.peek_mut(&key).filter(|(kept, _)| Arc::ptr_eq(kept, place)) else { return };
        *bytes = made.as_ref().map_or(0, HeldTo::bytes) + BYTES_OF_ENTRY;
        kept.bytes += *bytes;
        while kept.bytes > self.most
            && let Some((_, (_, bytes))) = kept.places.pop_lru()
        {
            kept.bytes -= bytes;
        }
    }
}

/// A poisoned lock is fine: what it guards changes by single steps, so no panic can leave it half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn refusal(text: &str) -> Result<Outcome, EngineError> {
        Ok(Err(EngineError::Request(text.into())))
    }

    fn reason(outcome: Result<Outcome, EngineError>) -> String {
        outcome.and_then(|outcome| outcome).err().unwrap().to_string()
    }

    #[test]
    fn an_outcome_is_kept_and_a_failure_is_not() {
        let cache = GrammarCache::new(usize::MAX);
        let failure = || Err(EngineError::Device("no thread".into()));
        assert_eq!(reason(cache.get_or_make("a", failure)), "engine: no thread");
        assert_eq!(reason(cache.get_or_make("a", || refusal("first"))), "first");
        assert_eq!(reason(cache.get_or_make("a", || refusal("second"))), "first");
    }

    #[test]
    fn who_asks_for_what_is_being_made_waits_for_it() {
        let (cache, made) = (GrammarCache::new(usize::MAX), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache.get_or_make("a", || {
                        made.fetch_add(1, Ordering::Relaxed);
                        refusal("no")
                    })
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_when_the_bytes_are_too_many() {
        let cache = GrammarCache::new(2 * BYTES_OF_ENTRY);
        for what in ["a", "b", "a", "c"] {
            cache.get_or_make(what, || refusal("kept")).unwrap().err().unwrap();
        }
        let shown = ["a", "c", "b"].map(|what| reason(cache.get_or_make(what, || refusal("made again"))));
        assert_eq!(shown, ["kept", "kept", "made again"]);
    }
}
