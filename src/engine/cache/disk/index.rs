//! Which segments are on disk, and which to forget. Pure bookkeeping.
//!
//! Segments on disk are never split: a prompt that leaves another inside a segment starts a segment of its own at that
//! segment's beginning. So siblings may begin alike, unlike the nodes of the tree in memory.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::segment_file::{FileName, SegmentHeader, SegmentId};

/// The segments on disk, each below the one it continues.
pub(super) struct SegmentIndex {
    root: SegmentId,
    segments: HashMap<SegmentId, IndexedSegment>,
    children: HashMap<SegmentId, Vec<SegmentId>>,
    /// Size of all files.
    bytes: u64,
    /// Advances with every use.
    clock: u64,
}

struct IndexedSegment {
    header: SegmentHeader,
    name: FileName,
    bytes: u64,
    last_used: u64,
}

/// The segments that a prompt begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cover {
    /// In order. The last one may reach beyond the prompt, or differ from it at some token.
    pub segments: Vec<SegmentId>,
    /// How many of the prompt's tokens they cover.
    pub tokens: usize,
    /// The last segment that the prompt contains whole, or the root: what a new segment continues.
    pub parent: SegmentId,
    /// Where that one ends, in tokens of the prompt.
    pub parent_end: usize,
}

impl SegmentIndex {
    /// An empty index.
    pub(super) fn new(root: SegmentId) -> Self {
        Self { root, segments: HashMap::new(), children: HashMap::new(), bytes: 0, clock: 0 }
    }

    /// Number of segments.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Size of all files, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file of a segment.
    pub(super) fn name(&self, id: SegmentId) -> Option<FileName> {
        Some(self.segments.get(&id)?.name)
    }

    /// The tokens of a segment; empty if it is unknown.
    pub(super) fn tokens(&self, id: SegmentId) -> &[u32] {
        self.segments.get(&id).map_or(&[], |indexed| &indexed.header.tokens)
    }

    /// The path of segments that covers most of `tokens`; among equals, the one of which `tokens` contain most whole.
    pub(super) fn cover(&self, tokens: &[u32]) -> Cover {
        let mut best = Cover { segments: Vec::new(), tokens: 0, parent: self.root, parent_end: 0 };
        let mut last = None;
        // Siblings may begin alike, so all paths are tried.
        let mut open = vec![(self.root, 0)];
        while let Some((parent, start)) = open.pop() {
            for id in self.children.get(&parent).into_iter().flatten() {
                let own = self.tokens(*id);
                let common = own.iter().zip(&tokens[start..]).take_while(|(a, b)| a == b).count();
                let end = start + common;
                let (parent, parent_end) = if common == own.len() { (*id, end) } else { (parent, start) };
                if common > 0 && (end, parent_end) > (best.tokens, best.parent_end) {
                    best = Cover { segments: Vec::new(), tokens: end, parent, parent_end };
                    last = Some(*id);
                }
                if common == own.len() {
                    open.push((*id, end));
                }
            }
        }
        best.segments = last.map(|last| self.path(last)).unwrap_or_default();
        best
    }

    /// The path to the last checkpoint within `tokens`, as [`SegmentIndex::cover`] has it.
    pub(super) fn cover_to_checkpoint(&self, tokens: &[u32]) -> Cover {
        let mut best = Cover { segments: Vec::new(), tokens: 0, parent: self.root, parent_end: 0 };
        let mut open = vec![(self.root, 0)];
        while let Some((parent, start)) = open.pop() {
            for id in self.children.get(&parent).into_iter().flatten() {
                let Some(IndexedSegment { header, .. }) = self.segments.get(id) else { continue };
                if !tokens[start..].starts_with(&header.tokens) {
                    continue;
                }
                let end = start + header.tokens.len();
                open.push((*id, end));
                if header.checkpoint && end > best.tokens {
                    best = Cover { tokens: end, parent: *id, parent_end: end, ..best };
                }
            }
        }
        best.segments = self.path(best.parent);
        best
    }

    /// Where the checkpoints are on a path of segments, in tokens from its beginning.
    pub(super) fn checkpoints(&self, path: &[SegmentId]) -> Vec<usize> {
        let mut end = 0;
        let headers = path.iter().filter_map(|id| Some(&self.segments.get(id)?.header));
        let ends = headers.map(|header| {
            end += header.tokens.len();
            (header.checkpoint, end)
        });
        ends.filter_map(|(checkpoint, end)| checkpoint.then_some(end)).collect()
    }

    /// The conversations on disk, each with all its tokens, the most recently used first and at most `most`. One that a more
    /// recently used one continues is not listed.
    pub(super) fn latest(&self, most: usize) -> Vec<Vec<u32>> {
        let mut by_use: Vec<(SegmentId, u64)> = self.segments.iter().map(|(id, indexed)| (*id, indexed.last_used)).collect();
        by_use.sort_unstable_by_key(|(_, last_used)| Reverse(*last_used));
        let (mut latest, mut continued) = (Vec::new(), HashSet::new());
        for (id, _) in by_use {
            if latest.len() < most && !continued.contains(&id) {
                let path = self.path(id);
                latest.push(path.iter().flat_map(|id| self.tokens(*id)).copied().collect());
                continued.extend(path);
            }
        }
        latest
    }

    /// The segments from the root's child down to `last`, both included.
    fn path(&self, last: SegmentId) -> Vec<SegmentId> {
        let mut path = Vec::new();
        let mut next = Some(last);
        while let Some((id, indexed)) = next.and_then(|id| Some((id, self.segments.get(&id)?))) {
            path.push(id);
            next = Some(indexed.header.parent);
        }
        path.reverse();
        path
    }

    /// Adds a segment, as the most recently used one.
    pub(super) fn insert(&mut self, header: SegmentHeader, name: FileName, bytes: u64) {
        self.clock += 1;
        let (parent, id) = (header.parent, name.id);
        let indexed = IndexedSegment { header, name, bytes, last_used: self.clock };
        self.bytes += bytes;
        match self.segments.insert(id, indexed) {
            Some(before) => self.bytes -= before.bytes,
            None => self.children.entry(parent).or_default().push(id),
        }
    }

    /// Marks a path of segments as used, the last one as the most recently used.
    pub(super) fn touch(&mut self, path: &[SegmentId]) {
        for id in path {
            self.clock += 1;
            self.segments.entry(*id).and_modify(|indexed| indexed.last_used = self.clock);
        }
    }

    /// Removes the least recently used leaf; returns its file.
    pub(super) fn evict(&mut self) -> Option<FileName> {
        let is_leaf = |id: &SegmentId| self.children.get(id).is_none_or(Vec::is_empty);
        let leaves = self.segments.iter().filter(|(id, _)| is_leaf(id));
        let (id, _) = leaves.min_by_key(|(_, indexed)| indexed.last_used)?;
        self.remove(*id).pop()
    }

    /// Removes everything; returns the files.
    pub(super) fn clear(&mut self) -> Vec<FileName> {
        self.children.clear();
        self.bytes = 0;
        self.segments.drain().map(|(_, indexed)| indexed.name).collect()
    }

    /// Removes a segment and all that continue it; returns their files.
    pub(super) fn remove(&mut self, id: SegmentId) -> Vec<FileName> {
        let Some(indexed) = self.segments.get(&id) else { return Vec::new() };
        let parent = indexed.header.parent;
        if let Some(siblings) = self.children.get_mut(&parent) {
            siblings.retain(|sibling| *sibling != id);
        }
        let (mut names, mut left) = (Vec::new(), vec![id]);
        while let Some(id) = left.pop() {
            left.extend(self.children.remove(&id).unwrap_or_default());
            if let Some(indexed) = self.segments.remove(&id) {
                self.bytes -= indexed.bytes;
                names.push(indexed.name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> SegmentIndex {
        SegmentIndex::new(SegmentId::root("m"))
    }

    /// Adds what is missing of these tokens, in segments of at most `most` tokens, one byte each.
    fn put(index: &mut SegmentIndex, tokens: &[u32], most: usize) {
        let Cover { mut parent, parent_end, tokens: known, segments } = index.cover(tokens);
        index.touch(&segments);
        if known == tokens.len() {
            return;
        }
        for tokens in tokens[parent_end..].chunks(most) {
            let header = SegmentHeader { parent, tokens: tokens.to_vec(), checkpoint: false };
            parent = header.id();
            index.insert(header, FileName { id: parent, checksum: 0 }, tokens.len() as u64);
        }
    }

    /// All tokens of the segments that cover the given ones.
    fn covered(index: &SegmentIndex, tokens: &[u32]) -> Vec<u32> {
        index.cover(tokens).segments.iter().flat_map(|id| index.tokens(*id).to_vec()).collect()
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
    fn the_leaves_of_the_least_recently_used_path_are_evicted_first() {
        let mut index = index();
        put(&mut index, &[1, 2, 3, 4], 2);
        put(&mut index, &[1, 2, 9], 2);
        put(&mut index, &[1, 2, 3, 4], 2);
        let of = |tokens: &[u32]| FileName { id: SegmentId::root("m").child(&[1, 2]).child(tokens), checksum: 0 };
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
            let lost = index.cover(&prompts[lost.index(prompts.len())].0).segments;
            if let Some(id) = lost.first() {
                let names = index.remove(*id);
                prop_assert!(names.iter().any(|name| name.id == *id) && names.len() >= lost.len());
            }
            prop_assert_eq!(index.bytes(), index.segments.values().map(|indexed| indexed.header.tokens.len() as u64).sum::<u64>());
            for (tokens, _) in &prompts {
                let cover = index.cover(tokens);
                prop_assert_eq!(&covered(&index, tokens)[..cover.tokens], &tokens[..cover.tokens]);
                prop_assert!(cover.segments.windows(2).all(|pair| index.segments[&pair[1]].header.parent == pair[0]));
            }
            while index.evict().is_some() {}
            prop_assert_eq!((index.len(), index.bytes()), (0, 0));
        }
    }
}
