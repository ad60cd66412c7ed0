//! The tree with a payload from whose end alone a sequence can go on.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::engine::cache::CacheLimits;

/// Tokens of which a sequence can go on after the last one, if there is a checkpoint; that takes ten bytes.
#[derive(Clone, Debug)]
struct Stepping {
    tokens: Vec<u32>,
    checkpoint: Option<Checkpoint>,
}

const LASTING: Option<Checkpoint> = Some(Checkpoint { bytes: 10, lasting: true });
const PASSING: Option<Checkpoint> = Some(Checkpoint { bytes: 10, lasting: false });

impl Payload for Stepping {
    type CopyError = Infallible;

    fn bytes(&self) -> usize {
        self.tokens.len() + self.checkpoint.map_or(0, |kept| kept.bytes)
    }

    fn first(&self, tokens: usize) -> Result<Self, Infallible> {
        let checkpoint = self.checkpoint.filter(|_| tokens == self.tokens.len());
        Ok(Self { tokens: self.tokens[..tokens].to_vec(), checkpoint })
    }

    fn split(&self, tokens: usize) -> Result<(Self, Self), Infallible> {
        Ok((self.first(tokens)?, Self { tokens: self.tokens[tokens..].to_vec(), ..*self }))
    }

    fn join(&self, next: &Self) -> Result<Self, Infallible> {
        Ok(Self { tokens: [&self.tokens[..], &next.tokens].concat(), ..*next })
    }

    fn resumes_after(&self, tokens: usize) -> bool {
        self.checkpoint.is_some() && tokens == self.tokens.len()
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    fn with_checkpoint_of(&self, other: Option<&Self>) -> Self {
        Self { checkpoint: other.and_then(|other| other.checkpoint), ..self.clone() }
    }
}

/// Inserts in segments that end at `ends`, with the given checkpoints.
fn insert(tree: &mut PrefixTree<Stepping>, tokens: &[u32], ends: &[(usize, Option<Checkpoint>)]) {
    let mut start = 0;
    let segments: Vec<_> = ends
        .iter()
        .map(|(end, checkpoint)| {
            let own = tokens[std::mem::replace(&mut start, *end)..*end].to_vec();
            Segment { tokens: own.len(), payload: Stepping { tokens: own, checkpoint: *checkpoint } }
        })
        .collect();
    tree.insert(tokens, &segments).unwrap();
}

fn numbered(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

#[test]
fn a_sequence_goes_on_at_the_last_checkpoint_that_it_matches_whole() {
    let mut tree = PrefixTree::new(CacheLimits::default(), 0);
    insert(&mut tree, &numbered(0..300), &[(100, LASTING), (200, None), (300, LASTING)]);
    let known = |tree: &PrefixTree<Stepping>, tokens: &[u32]| tree.known(tokens);
    for (tokens, wanted) in [(300, 300), (299, 100), (100, 100), (99, 0)] {
        assert_eq!(known(&tree, &numbered(0..tokens)), wanted);
        let segments = tree.lookup(&numbered(0..tokens)).unwrap();
        assert_eq!(segments.iter().map(|segment| segment.tokens).sum::<usize>() as u32, wanted as u32);
    }
    // Another prompt computes from 100 on and keeps its state inside a segment that is there.
    let branch = [numbered(0..150), vec![9000; 20]].concat();
    insert(&mut tree, &branch, &[(100, None), (150, LASTING), (170, LASTING)]);
    assert_eq!([known(&tree, &numbered(0..160)), known(&tree, &branch), known(&tree, &numbered(0..300))], [150, 170, 300]);
}

#[test]
fn checkpoints_that_save_least_go_first_and_the_last_of_a_prompt_stays() {
    let mut tree = PrefixTree::new(CacheLimits::default(), 0);
    let all = numbered(0..200);
    // The system prompt, then messages; four are kept whatever they take.
    let ends = [(100, LASTING), (110, PASSING), (120, LASTING), (130, LASTING), (180, LASTING), (200, LASTING)];
    insert(&mut tree, &all, &ends);
    let kept = |tree: &PrefixTree<Stepping>| (1..=200).filter(|end| tree.known(&all[..*end]) == *end).collect::<Vec<_>>();
    assert_eq!((kept(&tree), tree.bytes()), (vec![100, 120, 180, 200], 240));
    // They take no more than a fifth of the memory, so under pressure the last tokens go.
    tree.shrink_to(239);
    assert_eq!((kept(&tree), tree.bytes()), (vec![100, 120, 180], 210));
    tree.shrink_to(0);
    assert_eq!((kept(&tree), tree.bytes()), (vec![], 0));
}

proptest! {
    #[test]
    fn whatever_is_inserted_and_evicted_a_lookup_ends_with_a_checkpoint(
        prompts in prop::collection::vec((prop::collection::vec((0u32..2, 1usize..40), 1..6), any::<u8>()), 1..12),
        pressure in prop::option::of(0usize..400),
        limits in (1usize..5, prop::option::of(50usize..600)),
    ) {
        let mut tree = PrefixTree::new(CacheLimits { entries: limits.0, bytes: limits.1 }, 0);
        for (parts, kinds) in prompts {
            let (mut tokens, mut ends) = (Vec::new(), Vec::new());
            for (at, (token, length)) in parts.iter().enumerate() {
                tokens.extend(vec![*token; *length]);
                ends.push((tokens.len(), [None, PASSING, LASTING, LASTING][usize::from(kinds >> at) % 4]));
            }
            insert(&mut tree, &tokens, &ends);
            let bytes: usize = tree.nodes.iter().flatten().filter_map(|node| node.payload.as_ref()).map(Payload::bytes).sum();
            prop_assert_eq!(tree.bytes(), bytes);
            let known = tree.known(&tokens);
            let segments = tree.lookup(&tokens).unwrap();
            let found: Vec<u32> = segments.iter().flat_map(|segment| segment.payload.tokens.clone()).collect();
            prop_assert_eq!(&found[..], &tokens[..known]);
            prop_assert!(segments.last().is_none_or(|last| last.payload.checkpoint.is_some()));
            if let Some(bytes) = pressure {
                tree.shrink_to(bytes);
            }
        }
    }
}
