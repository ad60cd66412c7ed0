//! A radix tree over token ids: which prompts have been computed. Pure bookkeeping for any payload; `eviction` says which to
//! forget, `checkpoints` where sequences can go on if they cannot everywhere.
//!
//! A node holds one segment; its path from the root spells the tokens. Prompts share the nodes of their common beginning.

mod checkpoints;
mod eviction;

use std::collections::BTreeMap;

use crate::engine::segment::{Payload, Segment};

/// How much to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most prompts kept that no other kept prompt continues. 0: nothing is kept.
    pub entries: usize,
    /// Most memory for segments, in bytes; `None`: unlimited.
    pub bytes: Option<usize>,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 20, bytes: None }
    }
}

/// A prompt in the cache that no other one continues: a path from the root to a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPrompt {
    /// Its length.
    pub tokens: usize,
    /// Memory of the segments that it shares with no other prompt, in bytes.
    pub own_bytes: usize,
    /// Memory of all its segments, in bytes.
    pub bytes: usize,
}

/// A radix tree of segments that forgets the least recently used prompts beyond its limits.
pub struct PrefixTree<P> {
    /// Indexed by node id; the root, which has no tokens, is first. Nodes never move; a gap is a free id.
    nodes: Vec<Option<Node<P>>>,
    limits: CacheLimits,
    /// A node with no other child is joined with its successor up to this many tokens.
    join_below: usize,
    /// Advances with every use.
    clock: u64,
    /// Steps back with every insertion that counts as older than everything present.
    oldest: u64,
    bytes: usize,
    evicted: u64,
}

struct Node<P> {
    tokens: Vec<u32>,
    /// `None` for the root only.
    payload: Option<P>,
    parent: usize,
    /// By their first token.
    children: BTreeMap<u32, usize>,
    last_used: u64,
}

const ROOT: usize = 0;

/// The clock's start, with room below it for `oldest`.
const CLOCK_START: u64 = 1 << 32;

/// How far the tree matches a token sequence.
struct PrefixMatch {
    /// The last node that matches at least one token, or the root.
    node: usize,
    /// Matching tokens of that node.
    within: usize,
    /// Matching tokens from the root on.
    tokens: usize,
}

impl<P: Payload> PrefixTree<P> {
    /// An empty tree that joins neighbours of together at most `join_below` tokens.
    pub fn new(limits: CacheLimits, join_below: usize) -> Self {
        let root = Node { tokens: Vec::new(), payload: None, parent: ROOT, children: BTreeMap::new(), last_used: 0 };
        Self { nodes: vec![Some(root)], limits, join_below, clock: CLOCK_START, oldest: CLOCK_START, bytes: 0, evicted: 0 }
    }

    /// The segments of the longest prefix of `tokens` from which a sequence can go on, in order. Counts as a use.
    pub fn lookup(&mut self, tokens: &[u32]) -> Result<Vec<Segment<P>>, P::CopyError> {
        let found = self.find(tokens);
        self.touch(found.node);
        self.segments_before(self.resume_point(found))
    }

    /// The segments of the longest prefix of `tokens` that the tree has, whether or not a sequence can go on from it. Does not
    /// count as a use.
    pub fn segments(&self, tokens: &[u32]) -> Result<Vec<Segment<P>>, P::CopyError> {
        self.segments_before(self.find(tokens))
    }

    fn segments_before(&self, position: PrefixMatch) -> Result<Vec<Segment<P>>, P::CopyError> {
        let mut found = Vec::new();
        for id in self.path(position.node) {
            let node = self.node(id);
            let Some(payload) = &node.payload else { continue };
            let whole = id != position.node || position.within == node.tokens.len();
            let tokens = if whole { node.tokens.len() } else { position.within };
            let payload = if whole { payload.clone() } else { payload.first(tokens)? };
            found.push(Segment { tokens, payload });
        }
        Ok(found)
    }

    /// Length of the longest prefix of `tokens` from which a sequence can go on. Does not count as a use.
    pub fn known(&self, tokens: &[u32]) -> usize {
        self.resume_point(self.find(tokens)).tokens
    }

    /// The last position at or before this one from which a sequence can go on.
    fn resume_point(&self, mut position: PrefixMatch) -> PrefixMatch {
        while let Some(payload) = &self.node(position.node).payload {
            if payload.resumes_after(position.within) {
                break;
            }
            position.tokens -= position.within;
            position.node = self.node(position.node).parent;
            position.within = self.node(position.node).tokens.len();
        }
        position
    }

    /// Adds the part of `tokens` that is new and evicts the least recently used prompts beyond the limits. `segments` must
    /// cover exactly `tokens`.
    pub fn insert(&mut self, tokens: &[u32], segments: &[Segment<P>]) -> Result<(), P::CopyError> {
        let node = self.put(tokens, segments, self.clock)?;
        self.touch(node);
        self.enforce_limits();
        Ok(())
    }

    /// Like [`PrefixTree::insert`], but new segments count as older than everything present: they are the first to be evicted.
    pub fn insert_as_oldest(&mut self, tokens: &[u32], segments: &[Segment<P>]) -> Result<(), P::CopyError> {
        self.oldest -= 1;
        self.put(tokens, segments, self.oldest)?;
        self.enforce_limits();
        Ok(())
    }

    /// Adds the tokens that no node has yet; returns the node in which `tokens` end.
    fn put(&mut self, tokens: &[u32], segments: &[Segment<P>], last_used: u64) -> Result<usize, P::CopyError> {
        debug_assert_eq!(tokens.len(), segments.iter().map(|segment| segment.tokens).sum::<usize>());
        self.add_checkpoints(tokens, segments, self.find(tokens).tokens)?;
        let PrefixMatch { mut node, within, tokens: known } = self.find(tokens);
        if known < tokens.len() && within < self.node(node).tokens.len() {
            node = self.split(node, within)?;
        }
        let mut start = 0;
        for Segment { tokens: length, payload } in segments {
            let end = start + length;
            if end > known && *length > 0 {
                let payload = if start < known { payload.split(known - start)?.1 } else { payload.clone() };
                node = self.append(node, &tokens[start.max(known)..end], payload, last_used)?;
            }
            start = end;
        }
        Ok(node)
    }

    /// Removes everything; the count of evictions stays.
    pub fn clear(&mut self) {
        let (limits, evicted) = (self.limits.clone(), self.evicted);
        *self = Self { evicted, clock: self.clock, oldest: self.oldest, ..Self::new(limits, self.join_below) };
    }

    /// Memory of all segments, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of nodes evicted so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The prompts that no other one continues, the most recently used first.
    pub fn entries(&self) -> Vec<CachedPrompt> {
        let mut leaves = self.leaves().collect::<Vec<_>>();
        leaves.sort_by_key(|id| std::cmp::Reverse(self.node(*id).last_used));
        leaves.into_iter().map(|id| self.prompt_ending_at(id)).collect()
    }

    fn prompt_ending_at(&self, leaf: usize) -> CachedPrompt {
        let bytes_of = |id: &usize| self.node(*id).payload.as_ref().map_or(0, P::bytes);
        let path = self.path(leaf);
        let own = path.iter().rev().take_while(|id| **id == leaf || self.node(**id).children.len() == 1);
        CachedPrompt {
            tokens: path.iter().map(|id| self.node(*id).tokens.len()).sum(),
            own_bytes: own.map(bytes_of).sum(),
            bytes: path.iter().map(bytes_of).sum(),
        }
    }

    fn find(&self, tokens: &[u32]) -> PrefixMatch {
        let mut position = PrefixMatch { node: ROOT, within: 0, tokens: 0 };
        while let Some(&child) = tokens.get(position.tokens).and_then(|next| self.node(position.node).children.get(next)) {
            let own = &self.node(child).tokens;
            let within = common_prefix(own, &tokens[position.tokens..]);
            position = PrefixMatch { node: child, within, tokens: position.tokens + within };
            if within < own.len() {
                break;
            }
        }
        position
    }

    /// The nodes from the root's child down to `id`, both included.
    fn path(&self, mut id: usize) -> Vec<usize> {
        let mut path = Vec::new();
        while id != ROOT {
            path.push(id);
            id = self.node(id).parent;
        }
        path.reverse();
        path
    }

    fn touch(&mut self, node: usize) {
        self.clock += 1;
        let clock = self.clock;
        for id in self.path(node) {
            self.node_mut(id).last_used = clock;
        }
    }

    /// Splits a node after its first `at` tokens; returns the new upper one.
    fn split(&mut self, id: usize, at: usize) -> Result<usize, P::CopyError> {
        let node = self.node(id);
        let Some(payload) = &node.payload else { return Ok(id) };
        let (upper, lower) = payload.split(at)?;
        let (parent, last_used, first) = (node.parent, node.last_used, node.tokens[at]);
        let bytes = upper.bytes() + lower.bytes() - payload.bytes();
        let node = self.node_mut(id);
        let rest = node.tokens.split_off(at);
        let tokens = std::mem::replace(&mut node.tokens, rest);
        node.payload = Some(lower);
        let key = tokens[0];
        let children = BTreeMap::from([(first, id)]);
        let above = self.add(Node { tokens, payload: Some(upper), parent, children, last_used });
        self.node_mut(id).parent = above;
        self.node_mut(parent).children.insert(key, above);
        self.bytes += bytes;
        Ok(above)
    }

    /// Adds a segment below a node, or joins it to the node; returns the node in which it ends.
    fn append(&mut self, parent: usize, tokens: &[u32], payload: P, last_used: u64) -> Result<usize, P::CopyError> {
        let upper = self.node(parent);
        if let Some(before) = &upper.payload
            && upper.children.is_empty()
            && before.checkpoint().is_none()
            && upper.last_used <= last_used
            && upper.tokens.len() + tokens.len() <= self.join_below
        {
            let joined = before.join(&payload)?;
            self.bytes = self.bytes + joined.bytes() - before.bytes();
            let upper = self.node_mut(parent);
            upper.payload = Some(joined);
            upper.tokens.extend_from_slice(tokens);
            return Ok(parent);
        }
        self.bytes += payload.bytes();
        let node = Node { tokens: tokens.to_vec(), payload: Some(payload), parent, children: BTreeMap::new(), last_used };
        let id = self.add(node);
        self.node_mut(parent).children.insert(tokens[0], id);
        Ok(id)
    }

    fn add(&mut self, node: Node<P>) -> usize {
        match self.nodes.iter().position(Option::is_none) {
            Some(gap) => {
                self.nodes[gap] = Some(node);
                gap
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        }
    }

    fn leaves(&self) -> impl Iterator<Item = usize> + '_ {
        let is_leaf = |(id, node): (usize, &Option<Node<P>>)| {
            node.as_ref().is_some_and(|node| id != ROOT && node.children.is_empty()).then_some(id)
        };
        self.nodes.iter().enumerate().filter_map(is_leaf)
    }

    fn node(&self, id: usize) -> &Node<P> {
        // Cannot fail: ids come from `children`, `parent` and `leaves`, and `remove` unlinks a node when it frees its id.
        self.nodes[id].as_ref().expect("a node that the tree refers to is there")
    }

    fn node_mut(&mut self, id: usize) -> &mut Node<P> {
        // Cannot fail, see `node`.
        self.nodes[id].as_mut().expect("a node that the tree refers to is there")
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    // Mostly the whole of `a` matches, and slices are compared as bytes: far faster than token by token.
    if b.starts_with(a) {
        return a.len();
    }
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
