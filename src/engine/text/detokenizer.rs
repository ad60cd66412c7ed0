//! Turns token ids into text, one token at a time.

use std::sync::Arc;

use super::{TokenKind, Tokenizer};

/// Turns tokens into text as they arrive. A UTF-8 character split over several tokens is returned once it is
/// whole; invalid bytes become U+FFFD. Control tokens have no text, except those listed as markup.
pub(crate) struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    markup: Vec<u32>,
    /// Bytes of a character that is not whole yet.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// `markup`: tokens whose text is returned even if they are control tokens.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, markup: Vec<u32>) -> Self {
        Self { tokenizer, markup, pending: Vec::new() }
    }

    /// The text that this token completes.
    pub(crate) fn push(&mut self, token: u32) -> String {
        let kind = self.tokenizer.kind(token);
        if kind == TokenKind::Text {
            self.pending.extend_from_slice(self.tokenizer.bytes(token));
            return take_text(&mut self.pending);
        }
        let mut text = self.finish();
        if self.shows(token) {
            text.push_str(&String::from_utf8_lossy(self.tokenizer.bytes(token)));
        }
        text
    }

    /// Whether the token has text.
    pub(crate) fn shows(&self, token: u32) -> bool {
        self.tokenizer.kind(token) != TokenKind::Control || self.markup.contains(&token)
    }

    /// How many bytes of a character that is not whole yet have come.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many bytes of text the earlier tokens still get when this token is pushed: those of their unfinished character, or of
    /// U+FFFD in its place if the token does not go on with it.
    pub(crate) fn owed(&self, token: u32) -> usize {
        let goes_on = self.tokenizer.kind(token) == TokenKind::Text && {
            let both = [&self.pending, self.tokenizer.bytes(token)].concat();
            let broken = std::str::from_utf8(&both).err().filter(|error| error.valid_up_to() == 0);
            broken.and_then(|error| error.error_len()).is_none_or(|length| length > self.pending.len())
        };
        if goes_on || self.pending.is_empty() { self.pending.len() } else { char::REPLACEMENT_CHARACTER.len_utf8() }
    }

    /// Ends the text: a character that never became whole is returned as U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Removes and decodes all bytes except those of an unfinished character at the end.
fn take_text(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(pending) {
            Ok(valid) => {
                text.push_str(valid);
                pending.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&pending[..valid]));
                let Some(bad) = error.error_len() else {
                    pending.drain(..valid);
                    return text;
                };
                text.push(char::REPLACEMENT_CHARACTER);
                pending.drain(..valid + bad);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tiny_model;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_tokens_do_not_show_and_added_ones_do() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let tokens = tokenizer.encode("a<|im_start|>b<tool_call>c").unwrap();
        let mut plain = Detokenizer::new(tokenizer.clone(), vec![]);
        assert_eq!(tokens.iter().map(|token| plain.push(*token)).collect::<String>(), "ab<tool_call>c");
        let markup = vec![tokenizer.added_token("<|im_start|>").unwrap()];
        let mut marked = Detokenizer::new(tokenizer, markup);
        assert_eq!(tokens.iter().map(|token| marked.push(*token)).collect::<String>(), "a<|im_start|>b<tool_call>c");
    }

    #[test]
    fn a_character_belongs_to_the_tokens_that_began_it() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let [crab, letter] = ["\u{1F980}", "a"].map(|text| tokenizer.encode(text).unwrap());
        let mut detokenizer = Detokenizer::new(tokenizer.clone(), vec![]);
        assert_eq!(detokenizer.owed(crab[0]), 0);
        detokenizer.push(crab[0]);
        let begun = tokenizer.bytes(crab[0]).len();
        assert_eq!((detokenizer.owed(crab[1]), detokenizer.owed(letter[0]), detokenizer.owed(crab[0])), (begun, 3, 3));
        assert_eq!(detokenizer.owed(tokenizer.eos_tokens()[0]), 3);
    }

    proptest! {
        #[test]
        fn one_byte_at_a_time_gives_what_all_bytes_give(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in ".{0,8}") {
            let bytes = [text.as_bytes(), &bytes, text.as_bytes()].concat();
            let mut pending = Vec::new();
            let mut read = String::new();
            for byte in &bytes {
                pending.push(*byte);
                read.push_str(&take_text(&mut pending));
            }
            read.push_str(&String::from_utf8_lossy(&pending));
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
