//! The tree against a plain list of the sequences inserted.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// A payload that repeats its tokens, one byte each: so every test sees which tokens a segment was made for.
impl Payload for Vec<u32> {
    type CopyError = Infallible;

    fn bytes(&self) -> usize {
        self.len()
    }

    fn first(&self, tokens: usize) -> Result<Self, Infallible> {
        Ok(self[..tokens].to_vec())
    }

    fn split(&self, tokens: usize) -> Result<(Self, Self), Infallible> {
        Ok((self[..tokens].to_vec(), self[tokens..].to_vec()))
    }

    fn join(&self, next: &Self) -> Result<Self, Infallible> {
        Ok([self.as_slice(), next].concat())
    }
}

type Tree = PrefixTree<Vec<u32>>;

fn tree(entries: usize, bytes: Option<usize>) -> Tree {
    PrefixTree::new(CacheLimits { entries, bytes }, 0)
}

/// Inserts in segments of `length` tokens.
fn insert_in(tree: &mut Tree, tokens: &[u32], length: usize) {
    let segments: Vec<_> = tokens.chunks(length).map(|own| Segment { tokens: own.len(), payload: own.to_vec() }).collect();
    tree.insert(tokens, &segments).unwrap();
}

fn insert(tree: &mut Tree, tokens: &[u32]) {
    insert_in(tree, tokens, 3);
}

fn found(tree: &mut Tree, tokens: &[u32]) -> Vec<u32> {
    let segments = tree.lookup(tokens).unwrap();
    assert!(segments.iter().all(|segment| segment.tokens == segment.payload.len() && segment.tokens > 0));
    segments.into_iter().flat_map(|segment| segment.payload).collect()
}

/// Invariants that hold after any operation.
fn check(tree: &Tree) {
    let nodes = || tree.nodes.iter().enumerate().filter_map(|(id, node)| Some((id, node.as_ref()?)));
    assert_eq!(tree.bytes(), nodes().filter_map(|(_, node)| node.payload.as_ref()).map(Vec::len).sum::<usize>());
    for (id, node) in nodes().filter(|(id, _)| *id != ROOT) {
        assert_eq!(node.payload.as_ref(), Some(&node.tokens));
        assert_eq!(tree.node(node.parent).children.get(&node.tokens[0]), Some(&id));
        assert!(tree.node(node.parent).last_used >= node.last_used || node.parent == ROOT);
    }
    assert!(tree.entries().len() <= tree.limits.entries);
    assert!(tree.limits.bytes.is_none_or(|most| tree.bytes() <= most));
}

#[test]
fn what_prompts_have_in_common_is_kept_once() {
    let mut tree = tree(9, None);
    insert(&mut tree, &[1, 2, 3, 4, 5, 6]);
    insert(&mut tree, &[1, 2, 3, 4, 9, 9]);
    insert(&mut tree, &[1, 2, 3, 4, 5]);
    assert_eq!((tree.bytes(), tree.entries().len()), (8, 2));
    for (tokens, known) in [(&[1, 2, 3, 4, 5, 6, 7][..], 6), (&[1, 2, 3, 4, 9], 5), (&[1, 2], 2), (&[7], 0), (&[], 0)] {
        assert_eq!(found(&mut tree, tokens), tokens[..known], "{tokens:?}");
    }
    assert_eq!(
        tree.entries(),
        [CachedPrompt { tokens: 6, own_bytes: 2, bytes: 6 }, CachedPrompt { tokens: 6, own_bytes: 2, bytes: 6 }]
    );
}

#[test]
fn a_continued_prompt_is_no_entry_of_its_own() {
    let mut tree = tree(9, None);
    insert(&mut tree, &[1, 2]);
    insert(&mut tree, &[1, 2, 3, 4]);
    assert_eq!(tree.entries(), [CachedPrompt { tokens: 4, own_bytes: 4, bytes: 4 }]);
}

#[test]
fn short_neighbours_are_joined() {
    let mut tree = PrefixTree::new(CacheLimits::default(), 4);
    for end in 1..=9 {
        insert(&mut tree, &(1..=end).collect::<Vec<_>>());
    }
    let segments = tree.lookup(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    assert_eq!(segments.iter().map(|segment| segment.tokens).collect::<Vec<_>>(), [4, 4, 1]);
    check(&tree);
}

#[test]
fn the_least_recently_used_entry_goes_with_all_that_is_its_own() {
    let mut tree = tree(2, None);
    insert(&mut tree, &[1, 1, 1, 1, 1, 1, 1, 1]);
    insert(&mut tree, &[1, 1, 1, 1, 2, 2]);
    found(&mut tree, &[1, 1, 1, 1, 1, 1, 1, 1]);
    insert(&mut tree, &[3]);
    assert_eq!(found(&mut tree, &[1, 1, 1, 1, 2, 2]).len(), 4);
    assert_eq!(found(&mut tree, &[1, 1, 1, 1, 1, 1, 1, 1]).len(), 8);
    assert_eq!((tree.entries().len(), tree.bytes()), (2, 9));
}

#[test]
fn memory_is_bounded_and_the_ends_of_prompts_go_first() {
    let mut tree = tree(9, Some(7));
    insert(&mut tree, &[1, 2, 3, 4, 5, 6]);
    insert(&mut tree, &[7, 8]);
    assert_eq!((found(&mut tree, &[1, 2, 3, 4, 5, 6]).len(), found(&mut tree, &[7, 8]).len()), (3, 2));
    assert_eq!((tree.bytes(), tree.evicted()), (5, 1));
    insert(&mut tree, &[9; 30]);
    assert!(tree.bytes() <= 7);
    tree.shrink_to(0);
    assert_eq!((tree.bytes(), tree.entries().len()), (0, 0));
}

#[test]
fn without_entries_nothing_is_kept() {
    let mut tree = tree(0, None);
    insert(&mut tree, &[1, 2, 3, 4]);
    assert_eq!((tree.bytes(), tree.entries().len(), found(&mut tree, &[1, 2]).len()), (0, 0, 0));
}

#[derive(Clone, Debug)]
enum TreeStep {
    Insert { tokens: Vec<u32>, segment: usize },
    Lookup(Vec<u32>),
    Clear,
}

fn step() -> impl Strategy<Value = TreeStep> {
    let tokens = || prop::collection::vec(0u32..3, 0..12);
    prop_oneof![
        8 => (tokens(), 1usize..5).prop_map(|(tokens, segment)| TreeStep::Insert { tokens, segment }),
        8 => tokens().prop_map(TreeStep::Lookup),
        1 => Just(TreeStep::Clear),
    ]
}

proptest! {
    /// Without limits, a lookup finds the longest prefix that anything put in has in common with it.
    #[test]
    fn a_lookup_finds_the_longest_known_prefix(steps in prop::collection::vec(step(), 1..80), join_below in 0usize..6) {
        let mut tree = PrefixTree::new(CacheLimits { entries: 1000, bytes: None }, join_below);
        let mut model: Vec<Vec<u32>> = Vec::new();
        for step in steps {
            match step {
                TreeStep::Insert { tokens, segment } => {
                    insert_in(&mut tree, &tokens, segment);
                    model.push(tokens);
                }
                TreeStep::Lookup(tokens) => {
                    let best = model.iter().map(|known| common_prefix(known, &tokens)).max().unwrap_or(0);
                    prop_assert_eq!(tree.known(&tokens), best);
                    prop_assert_eq!(found(&mut tree, &tokens), &tokens[..best]);
                }
                TreeStep::Clear => {
                    tree.clear();
                    model.clear();
                }
            }
            check(&tree);
            let all_prefixes = model.iter().flat_map(|known| (1..=known.len()).map(|end| &known[..end]));
            prop_assert_eq!(tree.bytes(), all_prefixes.collect::<std::collections::HashSet<_>>().len());
        }
    }

    /// With limits, what is found is still true, and the limits hold after every step.
    #[test]
    fn limits_hold_and_hits_stay_true(
        steps in prop::collection::vec(step(), 1..80),
        entries in 0usize..5,
        bytes in prop::option::of(0usize..25),
    ) {
        let mut tree = PrefixTree::new(CacheLimits { entries, bytes }, 4);
        for step in steps {
            match step {
                TreeStep::Insert { tokens, segment } => insert_in(&mut tree, &tokens, segment),
                TreeStep::Lookup(tokens) => {
                    let hit = found(&mut tree, &tokens);
                    prop_assert_eq!(&hit, &tokens[..hit.len()]);
                }
                TreeStep::Clear => tree.clear(),
            }
            check(&tree);
        }
    }
}
