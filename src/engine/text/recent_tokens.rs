//! The tokens of the texts that were used last, as many as fit into a bound.

use std::sync::Arc;

use lru::LruCache;

/// What an entry takes beside its key and tokens, in bytes: places in a table and a list, and two allocations.
const ENTRY: usize = 128;

/// Tokens by the texts they are of, or by digests of these. Beyond its bound it forgets what was not used for longest.
pub(super) struct RecentTokens {
    entries: LruCache<Box<[u8]>, Arc<[u32]>>,
    /// What all entries take, in bytes.
    bytes: usize,
    /// The bound, in bytes.
    most: usize,
}

impl RecentTokens {
    /// None yet, and never more than take this many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, most }
    }

    /// The tokens, which count as used.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Arc<[u32]>> {
        self.entries.get(key).cloned()
    }

    /// Adds tokens as the last used ones, unless they alone are beyond the bound.
    pub(super) fn put(&mut self, key: &[u8], tokens: Arc<[u32]>) {
        let bytes = taken(key, &tokens);
        if bytes > self.most {
            return;
        }
        self.bytes += bytes;
        if let Some((key, tokens)) = self.entries.push(key.into(), tokens) {
            self.bytes -= taken(&key, &tokens);
        }
        while self.bytes > self.most
            && let Some((key, tokens)) = self.entries.pop_lru()
        {
            self.bytes -= taken(&key, &tokens);
        }
    }

    /// All keys with their tokens, the last used ones first.
    pub(super) fn last_used_first(&self) -> impl Iterator<Item = (&[u8], &[u32])> {
        self.entries.iter().map(|(key, tokens)| (&**key, &**tokens))
    }
}

/// What an entry takes, in bytes.
fn taken(key: &[u8], tokens: &[u32]) -> usize {
    ENTRY + key.len() + size_of_val(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_used_last_is_there_and_no_more_than_fits(
            most in 0usize..2_000,
            uses in prop::collection::vec((0u8..12, 0usize..100), 0..60),
        ) {
            let mut recent = RecentTokens::new(most);
            // The last used ones last.
            let mut model: Vec<(u8, usize)> = Vec::new();
            for (key, length) in uses {
                if let Some(at) = model.iter().position(|(known, _)| *known == key) {
                    let used = model.remove(at);
                    model.push(used);
                    prop_assert_eq!(recent.get(&[key]).map(|tokens| tokens.len()), Some(used.1));
                    continue;
                }
                prop_assert_eq!(recent.get(&[key]), None);
                recent.put(&[key], vec![7; length].into());
                let bytes = |entries: &[(u8, usize)]| entries.iter().map(|(_, length)| ENTRY + 1 + 4 * length).sum::<usize>();
                if bytes(&[(key, length)]) <= most {
                    model.push((key, length));
                    while bytes(&model) > most {
                        model.remove(0);
                    }
                }
                prop_assert_eq!(recent.bytes, bytes(&model));
            }
            let mut left: Vec<(u8, usize)> = recent.last_used_first().map(|(key, tokens)| (key[0], tokens.len())).collect();
            left.reverse();
            prop_assert_eq!(left, model);
        }
    }

    #[test]
    fn tokens_that_are_put_twice_are_counted_once() {
        let mut recent = RecentTokens::new(1_000);
        recent.put(b"a", [1, 2, 3].into());
        recent.put(b"a", [4].into());
        assert_eq!((recent.get(b"a").as_deref(), recent.bytes), (Some(&[4][..]), ENTRY + 1 + 4));
    }
}
