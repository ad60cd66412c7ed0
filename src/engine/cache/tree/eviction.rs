//! Which prompts the tree forgets: the least recently used ones beyond its limits.

use super::{Node, PrefixTree, ROOT};
use crate::engine::segment::Payload;

impl<P: Payload> PrefixTree<P> {
    /// Evicts until at most `bytes` are in use: first the checkpoints beyond their share of the memory, then the least recently
    /// used leaves.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.bytes > bytes {
            self.thin_out_to_share();
        }
        self.evict_to(bytes);
    }

    fn evict_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(leaf) = self.least_recently_used() else { break };
            self.remove(leaf);
        }
    }

    /// Evicts prompts until the limits are kept.
    pub(super) fn enforce_limits(&mut self) {
        while self.leaves().count() > self.limits.entries {
            // The prompt's own nodes go with its leaf, except those used later than the leaf, by a prompt that ends in them.
            let mut id = self.least_recently_used();
            let last_used = id.map_or(0, |id| self.node(id).last_used);
            let goes = |node: &Node<P>| node.children.is_empty() && node.last_used <= last_used;
            while let Some(leaf) = id.filter(|id| goes(self.node(*id))) {
                id = self.remove(leaf);
            }
        }
        self.thin_out();
        if let Some(most) = self.limits.bytes {
            self.evict_to(most);
        }
    }

    fn least_recently_used(&self) -> Option<usize> {
        self.leaves().min_by_key(|id| self.node(*id).last_used)
    }

    /// Evicts a leaf; returns its parent, unless that is the root.
    fn remove(&mut self, leaf: usize) -> Option<usize> {
        let Node { tokens, payload, parent, .. } = self.nodes[leaf].take()?;
        self.node_mut(parent).children.remove(&tokens[0]);
        self.bytes -= payload.as_ref().map_or(0, P::bytes);
        self.evicted += 1;
        // A parent that no sequence can go on from serves nobody once its children are gone.
        if parent != ROOT && self.node(parent).children.is_empty() && !self.resumes_after(parent) {
            return self.remove(parent);
        }
        (parent != ROOT).then_some(parent)
    }

    fn resumes_after(&self, id: usize) -> bool {
        let node = self.node(id);
        node.payload.as_ref().is_some_and(|payload| payload.resumes_after(node.tokens.len()))
    }
}
