//! Which tokens may come where no grammar holds: in thoughts and in free text.

use super::{AnswerDecoder, Stage};
use crate::engine::decode::call_form::Tag;
use crate::engine::decode::follower::TokenMask;
use crate::engine::decode::thinking::THINKING_TAGS;
use crate::engine::text::TokenKind;

impl AnswerDecoder {
    /// The tokens that may come next in free text; `None` if all may.
    pub(super) fn mask_of_text(&self) -> Option<TokenMask> {
        let vocab_size = self.parts.tokenizer.vocab_size();
        if let Some(rest) = self.rest_of_tag() {
            let allowed: Vec<u32> = (0..vocab_size as u32).filter(|token| self.goes_on(rest, *token)).collect();
            return Some(TokenMask::only(vocab_size, &allowed));
        }
        let forbidden = self.forbidden_in_text();
        (!forbidden.is_empty()).then(|| TokenMask::all_but(vocab_size, &forbidden))
    }

    /// Whether [`Self::mask_of_text`] allows the token.
    pub(super) fn may_come_in_text(&self, token: u32) -> bool {
        match self.rest_of_tag() {
            Some(rest) => self.goes_on(rest, token),
            None => !self.forbidden_in_text().contains(&token),
        }
    }

    /// The tokens that open thoughts, if thoughts may still come before a value of the output format.
    pub(super) fn tokens_that_open_thoughts(&self) -> Vec<u32> {
        let may = matches!(&self.stage, Stage::Start(_, text) if text.is_empty()) && self.thinking.may_open_tags();
        let tags = THINKING_TAGS.iter().filter(|_| may && self.rules.shows_thinking);
        tags.filter_map(|tags| self.parts.tokenizer.added_token(tags.open_markup)).collect()
    }

    /// What must still come of a tag around thoughts, before a value of the output format: nothing else can then begin with its
    /// markup.
    fn rest_of_tag(&self) -> Option<&'static str> {
        self.thinking.rest_of_opening().filter(|_| self.output.is_some())
    }

    /// Whether the token is text that `rest` begins with.
    fn goes_on(&self, rest: &str, token: u32) -> bool {
        let bytes = self.parts.tokenizer.bytes(token);
        self.parts.tokenizer.kind(token) == TokenKind::Text && !bytes.is_empty() && rest.as_bytes().starts_with(bytes)
    }

    /// The tokens that must not come next in free text: those that open a call where calls are not allowed, and those that
    /// contain an opening tag and more.
    fn forbidden_in_text(&self) -> Vec<u32> {
        if let Some((tags, there)) = self.thinking.closing_so_far() {
            if self.output.is_none() {
                return vec![];
            }
            // The answer must not end inside thoughts, and the value after them must begin with a token of its own.
            let close = THINKING_TAGS.iter().position(|known| known == tags).map(|at| &self.parts.overshooting_close[at][there]);
            return close.into_iter().flatten().chain(&self.parts.ends).copied().collect();
        }
        if self.rules.tools.is_empty() {
            return self.never_in_text.clone();
        }
        let tags = self.parts.format.tags().iter().zip(&self.parts.overshooting);
        let so_far = |tag: &Tag| self.parser.opening_so_far(tag).max(tag.so_far(self.thinking.opening(), true));
        tags.flat_map(|(tag, overshooting)| &overshooting[so_far(tag)]).copied().collect()
    }
}
