//! Which runs of tokens are on the disk, and which of them to forget. Pure bookkeeping.
//!
//! Runs are never taken apart: a prompt that leaves another in the middle of a run starts one of its own there.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::run::{FileName, Run, RunId};

/// The runs that there are, each under the one it continues.
pub struct RunIndex {
    root: RunId,
    runs: HashMap<RunId, Stored>,
    children: HashMap<RunId, Vec<RunId>>,
    bytes: u64,
    /// Counts uses: the larger, the later.
    clock: u64,
}

struct Stored {
    run: Run,
    name: FileName,
    bytes: u64,
    last_used: u64,
}

/// The runs that a prompt begins with.
#[derive(Debug, PartialEq, Eq)]
pub struct Cover {
    /// In order. The last one may go beyond the prompt, or leave it in the middle.
    pub runs: Vec<RunId>,
    /// How many of the prompt's tokens they have.
    pub tokens: usize,
    /// The last run that the prompt has to its end, or the root.
    pub parent: RunId,
    /// Where that one ends.
    pub parent_end: usize,
}

impl RunIndex {
    /// No run yet.
    pub fn new(root: RunId) -> Self {
        Self { root, runs: HashMap::new(), children: HashMap::new(), bytes: 0, clock: 0 }
    }

    /// How many runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// What their files take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A run's file.
    pub fn name(&self, id: RunId) -> Option<FileName> {
        Some(self.runs.get(&id)?.name)
    }

    /// A run's tokens; none where there is no such run.
    pub fn tokens(&self, id: RunId) -> &[u32] {
        self.runs.get(&id).map_or(&[], |stored| &stored.run.tokens)
    }

    /// The runs that the tokens begin with, as far as they go. Where some go equally far, those that end with the tokens.
    pub fn cover(&self, tokens: &[u32]) -> Cover {
        let mut best = Cover { runs: Vec::new(), tokens: 0, parent: self.root, parent_end: 0 };
        let mut last = None;
        // Runs that begin alike may continue the same one, so all ways are tried.
        let mut ways = vec![(self.root, 0)];
        while let Some((parent, start)) = ways.pop() {
            for id in self.children.get(&parent).into_iter().flatten() {
                let run = self.tokens(*id);
                let common = run.iter().zip(&tokens[start..]).take_while(|(a, b)| a == b).count();
                let end = start + common;
                let (parent, parent_end) = if common == run.len() { (*id, end) } else { (parent, start) };
                if common > 0 && (end, parent_end) > (best.tokens, best.parent_end) {
                    best = Cover { runs: Vec::new(), tokens: end, parent, parent_end };
                    last = Some(*id);
                }
                if common == run.len() {
                    ways.push((*id, end));
                }
            }
        }
        best.runs = last.map(|last| self.path(last)).unwrap_or_default();
        best
    }

    /// The tokens up to the end of the runs used last, at most so many, the last one first; without those that one before them
    /// continues.
    pub fn latest(&self, most: usize) -> Vec<Vec<u32>> {
        let mut runs: Vec<(RunId, u64)> = self.runs.iter().map(|(id, stored)| (*id, stored.last_used)).collect();
        runs.sort_unstable_by_key(|(_, last_used)| Reverse(*last_used));
        let (mut latest, mut continued) = (Vec::new(), HashSet::new());
        for (id, _) in runs {
            if latest.len() < most && !continued.contains(&id) {
                let path = self.path(id);
                latest.push(path.iter().flat_map(|id| self.tokens(*id)).copied().collect());
                continued.extend(path);
            }
        }
        latest
    }

    /// The runs up to this one.
    fn path(&self, run: RunId) -> Vec<RunId> {
        let mut path = Vec::new();
        let mut next = Some(run);
        while let Some((id, stored)) = next.and_then(|id| Some((id, self.runs.get(&id)?))) {
            path.push(id);
            next = Some(stored.run.parent);
        }
        path.reverse();
        path
    }

    /// Puts a run in, as the one used last.
    pub fn insert(&mut self, run: Run, name: FileName, bytes: u64) {
        self.clock += 1;
        let (parent, id) = (run.parent, name.id);
        let stored = Stored { run, name, bytes, last_used: self.clock };
        self.bytes += bytes;
        match self.runs.insert(id, stored) {
            Some(before) => self.bytes -= before.bytes,
            None => self.children.entry(parent).or_default().push(id),
        }
    }

    /// Counts as a use of runs that continue each other, the last one last.
    pub fn touch(&mut self, runs: &[RunId]) {
        for id in runs {
            self.clock += 1;
            self.runs.entry(*id).and_modify(|stored| stored.last_used = self.clock);
        }
    }

    /// Forgets the least recently used run that no other continues; gives its file.
    pub fn evict(&mut self) -> Option<FileName> {
        let is_leaf = |id: &RunId| self.children.get(id).is_none_or(Vec::is_empty);
        let leaves = self.runs.iter().filter(|(id, _)| is_leaf(id));
        let (id, _) = leaves.min_by_key(|(_, stored)| stored.last_used)?;
        self.remove(*id).pop()
    }

    /// Forgets every run; gives their files.
    pub fn clear(&mut self) -> Vec<FileName> {
        self.children.clear();
        self.bytes = 0;
        self.runs.drain().map(|(_, stored)| stored.name).collect()
    }

    /// Forgets a run and all that continue it; gives their files.
    pub fn remove(&mut self, id: RunId) -> Vec<FileName> {
        let Some(stored) = self.runs.get(&id) else { return Vec::new() };
        let parent = stored.run.parent;
        if let Some(siblings) = self.children.get_mut(&parent) {
            siblings.retain(|sibling| *sibling != id);
        }
        let (mut names, mut left) = (Vec::new(), vec![id]);
        while let Some(id) = left.pop() {
            left.extend(self.children.remove(&id).unwrap_or_default());
            if let Some(stored) = self.runs.remove(&id) {
                self.bytes -= stored.bytes;
                names.push(stored.name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> RunIndex {
        RunIndex::new(RunId::root("m"))
    }

    /// Puts in what is missing of these tokens, in runs of at most so many; one byte a token.
    fn put(index: &mut RunIndex, tokens: &[u32], most: usize) {
        let Cover { mut parent, parent_end, tokens: known, runs } = index.cover(tokens);
        index.touch(&runs);
        if known == tokens.len() {
            return;
        }
        for tokens in tokens[parent_end..].chunks(most) {
            let run = Run { parent, tokens: tokens.to_vec() };
            parent = run.id();
            index.insert(run, FileName { id: parent, checksum: 0 }, tokens.len() as u64);
        }
    }

    /// The tokens that the cover's runs have in all.
    fn covered(index: &RunIndex, tokens: &[u32]) -> Vec<u32> {
        index.cover(tokens).runs.iter().flat_map(|id| index.tokens(*id).to_vec()).collect()
    }

    #[test]
    fn a_prompt_is_covered_as_far_as_it_is_known() {
        let mut index = index();
        put(&mut index, &[1, 2, 3, 4, 5, 6, 7], 3);
        put(&mut index, &[1, 2, 3, 4, 9], 3);
        assert_eq!((index.len(), index.bytes()), (4, 9));
        let cases =
            [(&[1, 2, 3, 4, 5, 6, 7, 8][..], 7, 7), (&[1, 2, 3, 4, 9], 5, 5), (&[1, 2, 8], 2, 0), (&[8], 0, 0), (&[], 0, 0)];
        for (tokens, known, whole) in cases {
            let cover = index.cover(tokens);
            assert_eq!((cover.tokens, cover.parent_end), (known, whole), "{tokens:?}");
        }
        assert_eq!(covered(&index, &[1, 2, 8]), [1, 2, 3]);
    }

    #[test]
    fn the_ends_of_what_was_not_used_for_long_go_first() {
        let mut index = index();
        put(&mut index, &[1, 2, 3, 4], 2);
        put(&mut index, &[1, 2, 9], 2);
        put(&mut index, &[1, 2, 3, 4], 2);
        let of = |tokens: &[u32]| FileName { id: RunId::root("m").child(&[1, 2]).child(tokens), checksum: 0 };
        assert_eq!((index.latest(1), index.latest(9)), (vec![vec![1, 2, 3, 4]], vec![vec![1, 2, 3, 4], vec![1, 2, 9]]));
        assert_eq!(index.evict(), Some(of(&[9])));
        assert_eq!(index.evict(), Some(of(&[3, 4])));
        assert_eq!((index.evict().is_some(), index.evict(), index.bytes()), (true, None, 0));
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found_and_bytes_add_up(
            prompts in prop::collection::vec((prop::collection::vec(0u32..3, 0..12), 1usize..5), 1..20),
            lost in any::<prop::sample::Index>(),
        ) {
            let mut index = index();
            for (tokens, most) in &prompts {
                put(&mut index, tokens, *most);
                prop_assert_eq!(index.cover(tokens).tokens, tokens.len());
                prop_assert!(index.latest(1).concat().starts_with(tokens));
            }
            let lost = index.cover(&prompts[lost.index(prompts.len())].0).runs;
            if let Some(id) = lost.first() {
                let names = index.remove(*id);
                prop_assert!(names.iter().any(|name| name.id == *id) && names.len() >= lost.len());
            }
            prop_assert_eq!(index.bytes(), index.runs.values().map(|stored| stored.run.tokens.len() as u64).sum::<u64>());
            for (tokens, _) in &prompts {
                let cover = index.cover(tokens);
                prop_assert_eq!(&covered(&index, tokens)[..cover.tokens], &tokens[..cover.tokens]);
                prop_assert!(cover.runs.windows(2).all(|pair| index.runs[&pair[1]].run.parent == pair[0]));
            }
            while index.evict().is_some() {}
            prop_assert_eq!((index.len(), index.bytes()), (0, 0));
        }
    }
}
