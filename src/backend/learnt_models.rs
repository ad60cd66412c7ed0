//! What was learnt of a chat server's models from its answers: the chat protocol has no way to ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Most models that are remembered: a client may make up new names for ever.
const MOST_MODELS: usize = 1_000;

/// What was learnt of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LearntTraits {
    /// The server has refused pictures for it, and accepted the same request without them.
    pub refuses_pictures: bool,
    /// Its chat template opens the thoughts at the end of the prompt: an answer ended thoughts that it had not begun.
    pub begins_in_thoughts: bool,
}

/// The models of one server, by name.
#[derive(Default)]
pub(super) struct LearntModels(Mutex<HashMap<String, LearntTraits>>);

impl LearntModels {
    /// What is known of a model.
    pub(super) fn of(&self, model: &str) -> LearntTraits {
        // A thread that panicked with the lock leaves the map usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(model).copied().unwrap_or_default()
    }

    /// Remembers something of a model. Returns whether it is news.
    pub(super) fn learn(&self, model: &str, change: impl FnOnce(&mut LearntTraits)) -> bool {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = models.get(model).copied().unwrap_or_default();
        let mut after = before;
        change(&mut after);
        if after == before || models.len() >= MOST_MODELS && !models.contains_key(model) {
            return false;
        }
        models.insert(model.to_owned(), after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learnt_of_a_model_is_news_once() {
        let models = LearntModels::default();
        assert_eq!(models.of("a"), LearntTraits::default());
        assert!(models.learn("a", |traits| traits.refuses_pictures = true));
        assert!(!models.learn("a", |traits| traits.refuses_pictures = true));
        assert!(models.learn("a", |traits| traits.begins_in_thoughts = true));
        assert_eq!(models.of("a"), LearntTraits { refuses_pictures: true, begins_in_thoughts: true });
        assert_eq!(models.of("b"), LearntTraits::default());
    }
}
