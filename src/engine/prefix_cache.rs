//! Which prompts have been computed before, and how much of a new one they save. Pure bookkeeping: what is kept for the
//! tokens is the caller's.

/// How much to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most entries kept.
    pub entries: usize,
    /// Most memory kept, in bytes; `None`: as much as the entries take.
    pub bytes: Option<usize>,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 20, bytes: None }
    }
}

/// Computed token sequences, the most recently used last.
pub struct PrefixCache<T> {
    entries: Vec<Entry<T>>,
    limits: CacheLimits,
}

/// A computed token sequence.
struct Entry<T> {
    tokens: Vec<u32>,
    payload: T,
    bytes: usize,
    role: Role,
}

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One conversation so far; its continuation takes its place.
    Conversation,
    /// The beginning of many conversations, which stays when one of them goes on.
    Shared,
}

/// What the cache has for a prompt.
#[derive(Debug, PartialEq, Eq)]
pub struct Hit<T> {
    /// What was kept, for at least `tokens` tokens.
    pub payload: T,
    /// How many of the prompt's first tokens it is good for; always fewer than the prompt has.
    pub tokens: usize,
}

impl<T: Clone> PrefixCache<T> {
    /// An empty cache.
    pub fn new(limits: CacheLimits) -> Self {
        Self { entries: Vec::new(), limits }
    }

    /// The longest computed prefix of `prompt`, leaving at least its last token to compute.
    ///
    /// A conversation that the prompt continues to its last token is moved out of the cache, so that it can be extended
    /// in place; give it back, longer, with [`PrefixCache::insert`].
    pub fn take(&mut self, prompt: &[u32]) -> Option<Hit<T>> {
        let most = prompt.len().saturating_sub(1);
        let useful = |entry: &Entry<T>| common_prefix(&entry.tokens, prompt).min(most);
        // `max_by_key` gives the last of equals: the most recently used.
        let (index, tokens) = self.entries.iter().map(useful).enumerate().max_by_key(|(_, tokens)| *tokens)?;
        if tokens == 0 {
            return None;
        }
        let entry = self.entries.remove(index);
        if entry.role == Role::Conversation && entry.tokens.len() == tokens {
            return Some(Hit { payload: entry.payload, tokens });
        }
        let payload = entry.payload.clone();
        self.entries.push(entry);
        Some(Hit { payload, tokens })
    }

    /// Keeps what was computed for `tokens`, in the place of conversations that they continue, and forgets the least
    /// recently used entries beyond the limits. A conversation that another entry holds already adds nothing.
    pub fn insert(&mut self, tokens: Vec<u32>, payload: T, bytes: usize, role: Role) {
        let covered = self.entries.iter().position(|entry| entry.tokens.starts_with(&tokens));
        if let (Some(index), Role::Conversation) = (covered, role) {
            let entry = self.entries.remove(index);
            return self.entries.push(entry);
        }
        let replaced = |old: &Entry<T>| match old.role {
            Role::Conversation => tokens.starts_with(&old.tokens),
            Role::Shared => tokens == old.tokens,
        };
        self.entries.retain(|old| !replaced(old));
        self.entries.push(Entry { tokens, payload, bytes, role });
        while self.entries.len() > self.limits.entries || self.limits.bytes.is_some_and(|most| self.bytes() > most) {
            self.entries.remove(0);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// How many entries are kept.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Memory of all entries, in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cache whose payloads are the tokens themselves, one byte each.
    fn cache(entries: usize, bytes: Option<usize>) -> PrefixCache<Vec<u32>> {
        PrefixCache::new(CacheLimits { entries, bytes })
    }

    fn insert(cache: &mut PrefixCache<Vec<u32>>, tokens: &[u32], role: Role) {
        cache.insert(tokens.to_vec(), tokens.to_vec(), tokens.len(), role);
    }

    fn hit(cache: &mut PrefixCache<Vec<u32>>, prompt: &[u32]) -> usize {
        cache.take(prompt).map_or(0, |hit| hit.tokens)
    }

    #[test]
    fn the_longest_common_prefix_wins_and_the_last_token_is_always_left() {
        let mut cache = cache(9, None);
        insert(&mut cache, &[1, 2, 3, 4], Role::Shared);
        insert(&mut cache, &[1, 2, 9], Role::Shared);
        for (prompt, tokens) in
            [(&[1, 2, 3, 4, 5][..], 4), (&[1, 2, 3, 4], 3), (&[1, 2, 9, 9], 3), (&[1], 0), (&[7], 0), (&[], 0)]
        {
            assert_eq!(hit(&mut cache, prompt), tokens, "{prompt:?}");
        }
    }

    #[test]
    fn a_continued_conversation_is_moved_out_and_replaced_by_its_longer_self() {
        let mut cache = cache(9, None);
        insert(&mut cache, &[1, 2, 3], Role::Conversation);
        assert_eq!(hit(&mut cache, &[1, 2, 3, 4]), 3);
        assert_eq!(cache.entries(), 0);
        insert(&mut cache, &[1, 2, 3, 4, 5], Role::Conversation);
        assert_eq!(hit(&mut cache, &[1, 2, 3, 7]), 3, "a branch only borrows");
        insert(&mut cache, &[1, 2, 3, 7, 8], Role::Conversation);
        assert_eq!(cache.entries(), 2);
    }

    #[test]
    fn a_shared_prefix_stays_when_conversations_continue_it() {
        let mut cache = cache(9, None);
        insert(&mut cache, &[1, 2], Role::Shared);
        assert_eq!(hit(&mut cache, &[1, 2, 3]), 2);
        insert(&mut cache, &[1, 2, 3], Role::Conversation);
        insert(&mut cache, &[1, 2], Role::Conversation);
        assert_eq!(cache.entries(), 2, "what an entry holds already is not kept twice");
        assert_eq!(hit(&mut cache, &[1, 2, 4]), 2);
        assert_eq!(cache.entries(), 2);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = cache(2, None);
        insert(&mut cache, &[1, 1], Role::Shared);
        insert(&mut cache, &[2, 2], Role::Shared);
        assert_eq!(hit(&mut cache, &[1, 1, 1]), 2);
        insert(&mut cache, &[3, 3], Role::Shared);
        assert_eq!((hit(&mut cache, &[2, 2, 2]), hit(&mut cache, &[1, 1, 1]), hit(&mut cache, &[3, 3, 3])), (0, 2, 2));
    }

    #[test]
    fn memory_is_bounded_even_by_an_entry_larger_than_the_limit() {
        let mut cache = cache(9, Some(5));
        insert(&mut cache, &[1, 2, 3], Role::Conversation);
        insert(&mut cache, &[4, 5], Role::Conversation);
        assert_eq!((cache.entries(), cache.bytes()), (2, 5));
        insert(&mut cache, &[6], Role::Conversation);
        assert_eq!((cache.entries(), cache.bytes()), (2, 3));
        insert(&mut cache, &[7; 6], Role::Conversation);
        assert_eq!((cache.entries(), cache.bytes()), (0, 0));
    }

    proptest! {
        /// Whatever happens, a hit is a true prefix, no shorter than what the best kept entry offers.
        #[test]
        fn a_hit_is_the_best_true_prefix(
            steps in prop::collection::vec((prop::collection::vec(0u32..3, 0..8), any::<bool>(), any::<bool>()), 1..60),
            entries in 1usize..6,
        ) {
            let mut cache = cache(entries, Some(30));
            for (tokens, inserting, shared) in steps {
                if inserting {
                    insert(&mut cache, &tokens, if shared { Role::Shared } else { Role::Conversation });
                } else {
                    let best = cache.entries.iter().map(|e| common_prefix(&e.tokens, &tokens)).max().unwrap_or(0);
                    let best = best.min(tokens.len().saturating_sub(1));
                    match cache.take(&tokens) {
                        None => prop_assert_eq!(best, 0),
                        Some(hit) => {
                            prop_assert_eq!(hit.tokens, best);
                            prop_assert_eq!(&hit.payload[..best], &tokens[..best]);
                        }
                    }
                }
                prop_assert!(cache.entries() <= entries && cache.bytes() <= 30);
            }
        }
    }
}
