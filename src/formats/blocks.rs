//! The blocks of tokens that prompts share.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// The blocks so far, by a digest of each with all before it. They are numbered from 0, as they first appear.
pub(super) struct Blocks {
    /// Tokens in a block; the last of a prompt may be shorter.
    length: usize,
    known: HashMap<[u8; 32], usize>,
}

impl Blocks {
    pub(super) fn of(length: usize) -> Self {
        Self { length, known: HashMap::new() }
    }

    /// The numbers of a prompt's blocks.
    pub(super) fn numbers(&mut self, prompt: &[u32]) -> Vec<usize> {
        let mut before = [0; 32];
        let number = |block: &[u32]| {
            let mut hash = Sha256::new_with_prefix(before);
            block.iter().for_each(|token| hash.update(token.to_le_bytes()));
            before = hash.finalize().into();
            let next = self.known.len();
            *self.known.entry(before).or_insert(next)
        };
        prompt.chunks(self.length).map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_number_of_one_that_is_the_same_with_all_before_it() {
        let mut blocks = Blocks::of(512);
        let prompt = |parts: &[(u32, usize)]| parts.iter().flat_map(|(token, times)| vec![*token; *times]).collect::<Vec<u32>>();
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512), (3, 5)])), [0, 1, 2]);
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512), (3, 6)])), [0, 1, 3]);
        assert_eq!(blocks.numbers(&prompt(&[(2, 512), (1, 512)])), [4, 5]);
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512)])), [0, 1]);
    }
}
