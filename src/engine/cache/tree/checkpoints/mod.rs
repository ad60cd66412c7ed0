//! Which checkpoints the tree keeps, for models whose sequences can go on only from one.
//!
//! All checkpoints of a model have the same size, however few tokens they save, so in a tree of short segments they would take
//! most of the memory. They get a fifth of the memory of keys and values, but at least a few for each prompt. Dropped first is
//! the one that saves least: the tokens since the checkpoint before it, as a share of those after it, which a prompt that goes on
//! from there computes anyway. So checkpoints are dense near a prompt's end and sparse towards its beginning, and one that ends a
//! long text, such as the tools and the system prompt, stays. A prompt's last checkpoint stays as long as the prompt.

use std::collections::BTreeMap;

use super::{Node, PrefixTree};
use crate::engine::segment::{Checkpoint, Payload, Segment};

/// Checkpoints may take one byte for each of these many bytes of keys and values.
const SHARE: usize = 5;

/// Checkpoints for each prompt that are kept whatever they take: after the tools and the system prompt, after the last message,
/// after its answer, and one between.
const LEAST_PER_PROMPT: usize = 4;

impl<P: Payload> PrefixTree<P> {
    /// The checkpoint at a node's end.
    pub(super) fn checkpoint(&self, id: usize) -> Option<Checkpoint> {
        self.node(id).payload.as_ref().and_then(P::checkpoint)
    }

    /// Adds the checkpoints that `segments` have within the first `known` of their tokens, which are there, to the nodes that
    /// lack them.
    pub(super) fn add_checkpoints(&mut self, tokens: &[u32], segments: &[Segment<P>], known: usize) -> Result<(), P::CopyError> {
        let mut end = 0;
        for Segment { tokens: length, payload } in segments {
            end += length;
            if end > known {
                break;
            }
            if payload.checkpoint().is_none() {
                continue;
            }
            let position = self.find(&tokens[..end]);
            let inside = position.within < self.node(position.node).tokens.len();
            let id = if inside { self.split(position.node, position.within)? } else { position.node };
            if self.checkpoint(id).is_none_or(|kept| !kept.lasting) {
                self.set_checkpoint(id, Some(payload));
            }
        }
        Ok(())
    }

    /// Drops the checkpoints that save least until the others are within their share of the memory, or so few that each prompt
    /// has about [`LEAST_PER_PROMPT`].
    pub(super) fn thin_out(&mut self) {
        self.thin_out_to(LEAST_PER_PROMPT);
    }

    /// The same when memory is short: no prompt is promised any.
    pub(super) fn thin_out_to_share(&mut self) {
        self.thin_out_to(0);
    }

    fn thin_out_to(&mut self, per_prompt: usize) {
        while let Some((all, size)) = self.checkpoint_bytes() {
            let least = per_prompt * self.leaves().count() * size;
            if all <= least.max((self.bytes - all) / SHARE) {
                return;
            }
            let Some(id) = self.least_worth() else { return };
            self.set_checkpoint(id, None);
        }
    }

    /// Memory of all checkpoints and of one; `None` if there are none.
    fn checkpoint_bytes(&self) -> Option<(usize, usize)> {
        let payloads = self.nodes.iter().flatten().filter_map(|node| node.payload.as_ref());
        let (all, largest) =
            payloads.filter_map(P::checkpoint).fold((0, 0), |(all, largest), kept| (all + kept.bytes, kept.bytes.max(largest)));
        (all > 0).then_some((all, largest))
    }

    /// The node whose checkpoint saves least, of those that are not a prompt's last one.
    fn least_worth(&self) -> Option<usize> {
        let mut worths: BTreeMap<usize, f64> = BTreeMap::new();
        for leaf in self.leaves() {
            let path = self.path(leaf);
            let length: usize = path.iter().map(|id| self.node(*id).tokens.len()).sum();
            let last = path.iter().rev().find(|id| self.checkpoint(**id).is_some());
            let (mut end, mut before) = (0, 0);
            for id in &path {
                end += self.node(*id).tokens.len();
                let Some(kept) = self.checkpoint(*id) else { continue };
                let saved = end - std::mem::replace(&mut before, end);
                let worth = match kept.lasting {
                    _ if last == Some(id) => f64::INFINITY,
                    true => saved as f64 / (1 + length - end) as f64,
                    false => 0.0,
                };
                // Of several prompts that share it, the one that needs it most decides.
                worths.entry(*id).and_modify(|most| *most = most.max(worth)).or_insert(worth);
            }
        }
        let (id, _) = worths.into_iter().filter(|(_, worth)| worth.is_finite()).min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some(id)
    }

    /// Gives a node the checkpoint of a payload with the same end, or takes it away.
    fn set_checkpoint(&mut self, id: usize, from: Option<&P>) {
        let Node { payload: Some(payload), .. } = self.node_mut(id) else { return };
        let before = payload.bytes();
        *payload = payload.with_checkpoint_of(from);
        let after = payload.bytes();
        self.bytes = self.bytes + after - before;
    }
}

#[cfg(test)]
mod tests;
