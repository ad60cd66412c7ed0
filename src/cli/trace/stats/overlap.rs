//! How much of each prompt is the beginning of an earlier one.

use serde::Serialize;

use super::beginnings::{Beginnings, Shared};
use crate::trace::{Prompt, PromptPart};

/// How much of a prompt is the beginning of an earlier one. Lengths are in tokens or characters.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct PromptOverlap {
    pub request: String,
    /// Length of the prompt.
    pub prompt: usize,
    /// Length of the longest beginning that it shares with an earlier prompt.
    pub shared: usize,
    /// The request with that prompt, the latest of several; null if nothing is shared.
    pub with: Option<String>,
    /// The first part that differs; null if one prompt continues the other.
    pub broken_by: Option<String>,
}

/// Compares prompts with those before them.
pub(super) struct Overlaps<T> {
    beginnings: Beginnings<T>,
    prompts: Vec<Prompt>,
    pub all: Vec<PromptOverlap>,
}

impl<T: Copy + PartialEq> Overlaps<T> {
    pub(super) fn new() -> Self {
        Self { beginnings: Beginnings::new(), prompts: Vec::new(), all: Vec::new() }
    }

    fn note(&mut self, prompt: Prompt, length: usize, Shared { length: shared, with }: Shared) {
        let with = with.map(|nth| &self.prompts[nth]);
        self.all.push(PromptOverlap {
            request: prompt.name.clone(),
            prompt: length,
            shared,
            with: with.map(|other| other.name.clone()),
            broken_by: with.and_then(|other| prompt.first_difference(other)),
        });
        self.prompts.push(prompt);
    }
}

impl Overlaps<u8> {
    /// Adds a prompt, counted in characters.
    pub(super) fn add(&mut self, prompt: Prompt) {
        let texts: Vec<&[u8]> = prompt.parts().map(|part| part.text.as_bytes()).collect();
        let known = self.prompts.last().map_or(0, |last| prompt.bytes_held_with(last));
        let Shared { length, with } = self.beginnings.add(&texts, known);
        let shared = characters(prompt.parts(), length);
        let with = with.filter(|_| shared > 0);
        let length = prompt.parts().map(|part| part.characters).sum();
        self.note(prompt, length, Shared { length: shared, with });
    }
}

#[cfg(feature = "mlx")]
impl Overlaps<u32> {
    /// Adds a prompt of these tokens.
    pub(super) fn add_tokens(&mut self, prompt: Prompt, tokens: &[u32]) {
        let shared = self.beginnings.add(&[tokens], 0);
        self.note(prompt, tokens.len(), shared);
    }
}

/// How many characters end in the first bytes of these parts.
fn characters<'a>(parts: impl Iterator<Item = &'a PromptPart>, mut bytes: usize) -> usize {
    let mut count = 0;
    for part in parts {
        let text = part.text.as_bytes();
        let Some(inside) = text.get(..bytes).filter(|inside| inside.len() < text.len()) else {
            bytes -= text.len();
            count += part.characters;
            continue;
        };
        // A character begins with a byte that continues none. One that is cut does not end.
        let begun = inside.iter().filter(|byte| !is_inside(**byte)).count();
        return count + begun - usize::from(is_inside(text[bytes]));
    }
    count
}

/// Whether a byte of UTF-8 is inside of a character.
fn is_inside(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::PartKind;

    #[test]
    fn a_character_counts_once_it_is_whole() {
        let part = |text: &str| PromptPart::new(PartKind::Tool, String::new(), text.into());
        let parts = ["aé", "", "😀b"].map(part);
        let counts: Vec<usize> = (0..=8).map(|bytes| characters(parts.iter(), bytes)).collect();
        assert_eq!(counts, [0, 1, 1, 2, 2, 2, 2, 3, 4]);
    }
}
