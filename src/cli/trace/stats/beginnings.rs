//! The beginnings that prompts share.

/// All prompts so far, as a tree in which each beginning is once.
pub(super) struct Beginnings<T> {
    nodes: Vec<Node<T>>,
    prompts: usize,
}

/// What some prompts have behind what their parent has.
struct Node<T> {
    units: Vec<T>,
    /// The latest of these prompts, by its number from 0.
    latest: usize,
    /// Each begins with another unit.
    children: Vec<usize>,
}

const ROOT: usize = 0;

/// What a prompt shares with those before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// The length of the longest beginning that an earlier prompt has too.
    pub length: usize,
    /// The number of the latest such prompt; none if nothing is shared.
    pub with: Option<usize>,
}

impl<T: Copy + PartialEq> Beginnings<T> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node { units: Vec::new(), latest: 0, children: Vec::new() }], prompts: 0 }
    }

    /// Adds a prompt, which comes in pieces. `known`: so many of its units are those that the prompt before begins with, so they
    /// need not be compared.
    pub(super) fn add(&mut self, prompt: &[&[T]], known: usize) -> Shared {
        let nth = self.prompts;
        self.prompts += 1;
        let mut rest = Pieces { pieces: prompt, at: 0 };
        let mut shared = Shared { length: 0, with: None };
        let mut node = ROOT;
        while let Some(first) = rest.first() {
            let mut children = self.nodes[node].children.iter().copied();
            let Some(child) = children.find(|child| self.nodes[*child].units[0] == first) else {
                let leaf = self.push(Node { units: rest.left(), latest: nth, children: Vec::new() });
                self.nodes[node].children.push(leaf);
                break;
            };
            let units = &self.nodes[child].units;
            let length = units.len();
            let same = if shared.length + length <= known { length } else { rest.in_common(units) };
            rest.pass(same);
            shared = Shared { length: shared.length + same, with: Some(self.nodes[child].latest) };
            if same < length {
                self.split(child, same);
            }
            self.nodes[child].latest = nth;
            node = child;
        }
        shared
    }

    /// Makes a node end here, with one child that goes on as it did.
    fn split(&mut self, node: usize, at: usize) {
        let Node { units, latest, children } = &mut self.nodes[node];
        let below = Node { units: units.split_off(at), latest: *latest, children: std::mem::take(children) };
        units.shrink_to_fit();
        let below = self.push(below);
        self.nodes[node].children.push(below);
    }

    fn push(&mut self, node: Node<T>) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

/// What is left of a prompt.
struct Pieces<'a, T> {
    pieces: &'a [&'a [T]],
    /// How much of the first piece is gone.
    at: usize,
}

impl<T: Copy + PartialEq> Pieces<'_, T> {
    fn first(&mut self) -> Option<T> {
        self.pass(0);
        Some(self.pieces.first()?[self.at])
    }

    fn left(&self) -> Vec<T> {
        let mut left = self.pieces.concat();
        left.drain(..self.at);
        left
    }

    /// How many units these begin with, too.
    fn in_common(&self, mut units: &[T]) -> usize {
        let mut length = 0;
        let mut at = self.at;
        for piece in self.pieces {
            let (piece, compared) = (&piece[at..], &units[..units.len().min(piece.len() - at)]);
            let same = if piece[..compared.len()] == *compared {
                compared.len()
            } else {
                piece.iter().zip(compared).take_while(|(one, other)| one == other).count()
            };
            length += same;
            units = &units[same..];
            if same < piece.len() || units.is_empty() {
                break;
            }
            at = 0;
        }
        length
    }

    fn pass(&mut self, units: usize) {
        self.at += units;
        while let Some(piece) = self.pieces.first().filter(|piece| self.at >= piece.len()) {
            self.at -= piece.len();
            self.pieces = &self.pieces[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_longest_beginning_and_its_latest_prompt_are_found(
            prompts in prop::collection::vec(prop::collection::vec("[ab]{0,3}", 0..4), 0..12), trusts: bool
        ) {
            let mut tree = Beginnings::new();
            let whole: Vec<String> = prompts.iter().map(|pieces| pieces.concat()).collect();
            let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            for (nth, pieces) in prompts.iter().enumerate() {
                let known = if trusts && nth > 0 { common(&whole[nth], &whole[nth - 1]) } else { 0 };
                let found = tree.add(&pieces.iter().map(|piece| piece.as_bytes()).collect::<Vec<_>>(), known);
                let earlier = whole[..nth].iter().enumerate().map(|(nth_other, other)| (common(&whole[nth], other), nth_other));
                let best = earlier.max().filter(|(length, _)| *length > 0);
                let expected = best.map_or(Shared { length: 0, with: None }, |(length, with)| Shared { length, with: Some(with) });
                prop_assert_eq!(found, expected);
            }
        }
    }
}
