//! Which prompts have been computed before: a radix tree over token ids. Pure bookkeeping: what is kept for the tokens is
//! the caller's.
//!
//! Every node holds a run of tokens and one payload for exactly these. Prompts share the nodes of what they have in common.
//! Payloads are handed out as clones, so they must be cheap to clone: shared, never copied.

use std::collections::BTreeMap;

/// What is kept for a run of tokens.
pub trait Payload: Clone {
    /// What can go wrong in taking it apart or putting it together.
    type Error;

    /// Memory it holds, in bytes.
    fn bytes(&self) -> usize;

    /// A view of what belongs to the first `tokens` tokens.
    fn first(&self, tokens: usize) -> Result<Self, Self::Error>;

    /// What belongs to the first `tokens` tokens, and the rest, each in memory of its own.
    fn split(&self, tokens: usize) -> Result<(Self, Self), Self::Error>;

    /// Both, one after the other, in memory of its own.
    fn join(&self, next: &Self) -> Result<Self, Self::Error>;
}

/// A run of tokens and what is kept for it.
#[derive(Clone, Debug)]
pub struct Segment<P> {
    /// How many tokens.
    pub tokens: usize,
    pub payload: P,
}

/// How much to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most entries kept: prompts that no other kept prompt continues. 0: nothing is kept.
    pub entries: usize,
    /// Most memory kept, in bytes; `None`: as much as the entries take.
    pub bytes: Option<usize>,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries: 20, bytes: None }
    }
}

/// A kept prompt that no other continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// All its tokens.
    pub tokens: usize,
    /// Memory of those it shares with no other entry, in bytes.
    pub own_bytes: usize,
    /// Memory of all its tokens, in bytes.
    pub bytes: usize,
}

/// Computed token sequences.
pub struct PrefixTree<P> {
    /// The root, which has no tokens, is first. Nodes never move; those that went leave a gap to be used again.
    nodes: Vec<Option<Node<P>>>,
    limits: CacheLimits,
    /// Runs up to so many tokens are put together when one continues the other.
    join_below: usize,
    /// Counts uses: the larger, the later.
    clock: u64,
    /// Counts down what was put in as if used before all else.
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

/// Where the clock begins: what is older counts down from here.
const START: u64 = 1 << 32;

/// How far a token sequence goes in the tree.
struct Position {
    /// The last node that has some of it.
    node: usize,
    /// How many of that node's tokens.
    within: usize,
    /// Tokens in all.
    tokens: usize,
}

impl<P: Payload> PrefixTree<P> {
    /// An empty tree, in which runs of together at most `join_below` tokens become one.
    pub fn new(limits: CacheLimits, join_below: usize) -> Self {
        let root = Node { tokens: Vec::new(), payload: None, parent: ROOT, children: BTreeMap::new(), last_used: 0 };
        Self { nodes: vec![Some(root)], limits, join_below, clock: START, oldest: START, bytes: 0, evicted: 0 }
    }

    /// What is kept for the longest known beginning of `tokens`, in order. Counts as a use of it.
    pub fn lookup(&mut self, tokens: &[u32]) -> Result<Vec<Segment<P>>, P::Error> {
        self.touch(self.find(tokens).node);
        self.segments(tokens)
    }

    /// Like `lookup`, but no use of it.
    pub fn segments(&self, tokens: &[u32]) -> Result<Vec<Segment<P>>, P::Error> {
        let position = self.find(tokens);
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

    /// How many tokens of `tokens` are known. No use of it.
    pub fn known(&self, tokens: &[u32]) -> usize {
        self.find(tokens).tokens
    }

    /// Keeps what was computed for `tokens`, as far as it is new, and forgets the least recently used beyond the limits.
    /// `segments` cover exactly `tokens`.
    pub fn insert(&mut self, tokens: &[u32], segments: &[Segment<P>]) -> Result<(), P::Error> {
        let node = self.put(tokens, segments, self.clock)?;
        self.touch(node);
        self.enforce_limits();
        Ok(())
    }

    /// Like `insert`, but as if what is new had been used before all that is there: beyond the limits, it goes first.
    pub fn insert_as_oldest(&mut self, tokens: &[u32], segments: &[Segment<P>]) -> Result<(), P::Error> {
        self.oldest -= 1;
        self.put(tokens, segments, self.oldest)?;
        self.enforce_limits();
        Ok(())
    }

    /// Puts in what is new of the tokens; gives the node that ends with them.
    fn put(&mut self, tokens: &[u32], segments: &[Segment<P>], last_used: u64) -> Result<usize, P::Error> {
        debug_assert_eq!(tokens.len(), segments.iter().map(|segment| segment.tokens).sum::<usize>());
        let Position { mut node, within, tokens: known } = self.find(tokens);
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

    /// Forgets everything.
    pub fn clear(&mut self) {
        let (limits, evicted) = (self.limits.clone(), self.evicted);
        *self = Self { evicted, clock: self.clock, oldest: self.oldest, ..Self::new(limits, self.join_below) };
    }

    /// Forgets the least recently used until what is left takes at most so many bytes.
    pub fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(leaf) = self.least_recently_used() else { break };
            self.remove(leaf);
        }
    }

    /// Memory of everything kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many runs of tokens were forgotten to keep the limits.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The kept prompts that no other continues, the most recently used first.
    pub fn entries(&self) -> Vec<Entry> {
        let mut leaves = self.leaves().collect::<Vec<_>>();
        leaves.sort_by_key(|id| std::cmp::Reverse(self.node(*id).last_used));
        leaves.into_iter().map(|id| self.entry(id)).collect()
    }

    fn entry(&self, leaf: usize) -> Entry {
        let bytes_of = |id: &usize| self.node(*id).payload.as_ref().map_or(0, P::bytes);
        let path = self.path(leaf);
        let own = path.iter().rev().take_while(|id| **id == leaf || self.node(**id).children.len() == 1);
        Entry {
            tokens: path.iter().map(|id| self.node(*id).tokens.len()).sum(),
            own_bytes: own.map(bytes_of).sum(),
            bytes: path.iter().map(bytes_of).sum(),
        }
    }

    fn find(&self, tokens: &[u32]) -> Position {
        let mut position = Position { node: ROOT, within: 0, tokens: 0 };
        while let Some(&child) = tokens.get(position.tokens).and_then(|next| self.node(position.node).children.get(next)) {
            let run = &self.node(child).tokens;
            let within = common_prefix(run, &tokens[position.tokens..]);
            position = Position { node: child, within, tokens: position.tokens + within };
            if within < run.len() {
                break;
            }
        }
        position
    }

    /// From the root's child down to the node, the node included.
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

    /// Makes two nodes of one; gives the upper one, which has the first `at` tokens.
    fn split(&mut self, id: usize, at: usize) -> Result<usize, P::Error> {
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

    /// Puts a run after a node; gives the node that ends with it.
    fn append(&mut self, parent: usize, tokens: &[u32], payload: P, last_used: u64) -> Result<usize, P::Error> {
        let upper = self.node(parent);
        if let Some(before) = &upper.payload
            && upper.children.is_empty()
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

    fn enforce_limits(&mut self) {
        while self.leaves().count() > self.limits.entries {
            // All that is this entry's alone goes with it, but what was used later than its end.
            let mut id = self.least_recently_used();
            let last_used = id.map_or(0, |id| self.node(id).last_used);
            let goes = |node: &Node<P>| node.children.is_empty() && node.last_used <= last_used;
            while let Some(leaf) = id.filter(|id| goes(self.node(*id))) {
                id = self.remove(leaf);
            }
        }
        if let Some(most) = self.limits.bytes {
            self.shrink_to(most);
        }
    }

    fn leaves(&self) -> impl Iterator<Item = usize> + '_ {
        let is_leaf = |(id, node): (usize, &Option<Node<P>>)| {
            node.as_ref().is_some_and(|node| id != ROOT && node.children.is_empty()).then_some(id)
        };
        self.nodes.iter().enumerate().filter_map(is_leaf)
    }

    fn least_recently_used(&self) -> Option<usize> {
        self.leaves().min_by_key(|id| self.node(*id).last_used)
    }

    /// Removes a leaf; gives its parent, unless that is the root.
    fn remove(&mut self, leaf: usize) -> Option<usize> {
        let Node { tokens, payload, parent, .. } = self.nodes[leaf].take()?;
        self.node_mut(parent).children.remove(&tokens[0]);
        self.bytes -= payload.as_ref().map_or(0, P::bytes);
        self.evicted += 1;
        (parent != ROOT).then_some(parent)
    }

    fn node(&self, id: usize) -> &Node<P> {
        // Ids come from the tree itself, and whoever removes a node removes its parent's id for it.
        self.nodes[id].as_ref().expect("a node that the tree refers to is there")
    }

    fn node_mut(&mut self, id: usize) -> &mut Node<P> {
        // As above.
        self.nodes[id].as_mut().expect("a node that the tree refers to is there")
    }
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    // The common case is a long run that is the same, which is compared as bytes.
    if b.starts_with(a) {
        return a.len();
    }
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
