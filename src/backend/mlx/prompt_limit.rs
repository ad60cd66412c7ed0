//! Refusing prompts that are too long before they are tokenized whole: that takes seconds and gigabytes for every ten megabytes.

use tokio_util::sync::CancellationToken;

use crate::engine::EngineError;
use crate::engine::text::Tokenizer;

/// How much text is tokenized at once where only the number of tokens matters, in bytes.
const SLICE: usize = 64 * 1024;

/// How far before its end a slice may be cut for a better place, in bytes.
const LOOK_BACK: usize = 4 * 1024;

/// A text of fewer bytes for each token of the context is tokenized whole at once: it may well fit.
const BYTES_PER_TOKEN: usize = 6;

/// How many times as long as the longest prompt one may be whose tokens are counted. The work is in proportion.
const COUNTED: usize = 4;

/// A text of more bytes for each token of the context is not even counted. No language's tokens are so long.
const MOST_BYTES_PER_TOKEN: usize = 64;

/// The longest prompt.
pub(crate) struct PromptLimit {
    /// In tokens.
    most: usize,
}

impl PromptLimit {
    /// The limit of a model whose context holds this many tokens: at least one is left for the answer.
    pub(crate) fn of_context(tokens: usize) -> Self {
        Self { most: tokens.saturating_sub(1) }
    }

    /// Whether the text is so long that it should not be tokenized whole before it was counted.
    pub(crate) fn is_suspicious(&self, text: &str) -> bool {
        text.len() / BYTES_PER_TOKEN > self.most
    }

    /// Refuses a text that is certainly too long. It reads only as much of it as is needed for that.
    ///
    /// # Errors
    /// The text is too long, cannot be tokenized, or is not wanted any more.
    pub(crate) fn check(&self, text: &str, tokenizer: &Tokenizer, unwanted: &CancellationToken) -> Result<(), EngineError> {
        if self.is_suspicious(text) {
            count_up_to(self.most, text, tokenizer, unwanted)?;
        }
        Ok(())
    }

    /// The text's tokens, counted slice by slice: exact but for words that lie across two slices.
    ///
    /// # Errors
    /// The text is several times too long, cannot be tokenized, or is not wanted any more.
    pub(crate) fn count(&self, text: &str, tokenizer: &Tokenizer, unwanted: &CancellationToken) -> Result<usize, EngineError> {
        let most = self.most;
        if text.len() / MOST_BYTES_PER_TOKEN > most {
            let reason = format!("prompt is too long: over {MOST_BYTES_PER_TOKEN} bytes for each of the {most} tokens that fit");
            return Err(EngineError::Request(reason));
        }
        count_up_to(most.saturating_mul(COUNTED), text, tokenizer, unwanted)
    }
}

/// The text's tokens, unless they are certainly more than `most`. It reads only as much of the text as is needed for that.
fn count_up_to(most: usize, text: &str, tokenizer: &Tokenizer, unwanted: &CancellationToken) -> Result<usize, EngineError> {
    // Cuts change the number of tokens a little.
    let certainly = most.saturating_add(most / 64);
    let (mut tokens, mut bytes) = (0, 0);
    for slice in slices(text) {
        tokens += count_slice(slice, tokenizer, unwanted)?;
        bytes += slice.len();
        if tokens > certainly {
            // The whole text has as many tokens if its rest is like this. Clients take it for how much must go.
            let all = (tokens as u128 * text.len() as u128 / bytes as u128) as usize;
            // Claude Code recognises this wording and compacts the conversation.
            return Err(EngineError::Request(format!("prompt is too long: {all} tokens > {most} maximum")));
        }
    }
    Ok(tokens)
}

fn count_slice(slice: &str, tokenizer: &Tokenizer, unwanted: &CancellationToken) -> Result<usize, EngineError> {
    if unwanted.is_cancelled() {
        return Err(EngineError::Request("the client has left".into()));
    }
    Ok(tokenizer.encode(slice)?.len())
}

/// The text in slices that end at lines, where there are some: tokenizers end a token there, too.
fn slices(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (slice, rest) = text.split_at(cut(text));
        text = rest;
        (!slice.is_empty()).then_some(slice)
    })
}

fn cut(text: &str) -> usize {
    if text.len() <= SLICE {
        return text.len();
    }
    // A character has at most four bytes, so both are found.
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (boundary(SLICE - LOOK_BACK), boundary(SLICE));
    let begins_line = |(at, _): &(usize, &str)| !text[start + at + 1..].starts_with(char::is_whitespace);
    text[start..end].rmatch_indices('\n').find(begins_line).map_or(end, |(at, _)| start + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::text::tiny_model;

    fn text_of(bytes: usize) -> String {
        "A line of a long file, with some words in it; é→🙂.\n".chars().cycle().take(bytes).collect()
    }

    #[test]
    fn a_text_far_too_long_is_refused_after_a_small_part_of_it() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let limit = PromptLimit::of_context(1_001);
        let unwanted = CancellationToken::new();
        let text = text_of(400_000);
        let whole = tokenizer.encode(&text).unwrap().len();
        let error = limit.check(&text, &tokenizer, &unwanted).unwrap_err().to_string();
        let said = error.strip_prefix("prompt is too long: ").unwrap().strip_suffix(" tokens > 1000 maximum").unwrap();
        let said: usize = said.parse().unwrap();
        assert!(said.abs_diff(whole) < whole / 50, "{said} instead of {whole}");
        // It may fit, so it is tokenized whole and refused with its exact length, if at all.
        assert!(limit.check(&text[..5_000], &tokenizer, &unwanted).is_ok());
    }

    #[test]
    fn counting_in_slices_is_close_and_ends_with_the_client() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let unwanted = CancellationToken::new();
        let text = text_of(300_000);
        let whole = tokenizer.encode(&text).unwrap().len();
        // It is too long, but not by far.
        let limit = PromptLimit::of_context(whole / 2);
        assert_eq!(limit.count(&text, &tokenizer, &unwanted).unwrap(), whole);
        unwanted.cancel();
        assert!(limit.count(&text, &tokenizer, &unwanted).is_err());
        let error = PromptLimit::of_context(9).check(&text, &tokenizer, &unwanted).unwrap_err();
        insta::assert_snapshot!(error, @"the client has left");
    }

    #[test]
    fn what_is_several_times_too_long_is_not_counted() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let count = |text: &str| PromptLimit::of_context(1_001).count(text, &tokenizer, &CancellationToken::new());
        let text = text_of(50_000);
        let all = tokenizer.encode(&text).unwrap().len();
        assert!(all > 5_000, "{all}");
        let error = count(&text).unwrap_err().to_string();
        assert!(error.starts_with("prompt is too long: ") && error.ends_with(" tokens > 4000 maximum"), "{error}");
        let error = count(&text_of(100_000)).unwrap_err();
        insta::assert_snapshot!(error, @"prompt is too long: over 64 bytes for each of the 1000 tokens that fit");
    }

    #[test]
    fn slices_are_the_text() {
        for text in [text_of(200_000), "é".repeat(100_000), "\n".repeat(200_000), String::new(), "a".into()] {
            let parts: Vec<&str> = slices(&text).collect();
            assert_eq!(parts.concat(), text);
            assert!(parts.iter().all(|part| part.len() <= SLICE));
        }
    }
}
