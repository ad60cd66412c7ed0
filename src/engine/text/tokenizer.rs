//! Loads `tokenizer.json`: converts text to token ids, and knows the bytes of every token.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Encoding, Model, OffsetType, PreTokenizer};

use super::{read_optional, read_optional_json};
use crate::engine::EngineError;

/// The mark that `markup_escaping` inserts into markup that is content. U+FDD0 is one of Unicode's noncharacters, reserved for
/// internal use and not expected in text.
pub(super) const MARK: char = '\u{FDD0}';

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A fragment of ordinary text.
    Text,
    /// Added to the vocabulary as one unit, with visible text, such as `<tool_call>` or `<think>`.
    Added,
    /// Added as a special token, whose text is never shown, such as `<|im_end|>`.
    Control,
}

/// A model's tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The kind and bytes of every token, by id.
    tokens: Vec<(TokenKind, Box<[u8]>)>,
    eos: Vec<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, and the end-of-answer tokens from the configuration files beside it.
    ///
    /// # Errors
    /// A file is missing or malformed, the vocabulary is neither byte-level nor byte-fallback, or no file names a token
    /// that ends an answer.
    pub fn load(dir: &Path) -> Result<Arc<Self>, EngineError> {
        let path = dir.join("tokenizer.json");
        let bad = |reason: String| EngineError::ModelFile { path: path.clone(), reason };
        let json = read_optional(dir, "tokenizer.json")?.ok_or_else(|| bad("no such file".into()))?;
        let inner: tokenizers::Tokenizer = json.parse().map_err(|error: tokenizers::Error| bad(error.to_string()))?;
        let tokens = token_table(&inner, Alphabet::of(&json).map_err(bad)?);
        let eos = eos_tokens(dir, &inner)?;
        if eos.is_empty() {
            let reason = "no eos_token_id in generation_config.json or config.json and no eos_token in tokenizer_config.json";
            return Err(EngineError::ModelFile { path: dir.into(), reason: reason.into() });
        }
        Ok(Arc::new(Self { inner, tokens, eos }))
    }

    /// The text's tokens. Where the text spells an added token, it becomes that token unless escaped by
    /// `markup_escaping`. No tokens are added before or after the text.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let refused = |error| EngineError::Request(format!("the prompt cannot be tokenized: {error}"));
        Ok(self.encoding(text).map_err(refused)?.get_ids().to_vec())
    }

    /// The tokens of a text that stands for itself, not of a prompt that a chat template has written: with the token that
    /// the model expects at the beginning of every text, if it expects one.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let refused = |error| EngineError::Request(format!("the prompt cannot be tokenized: {error}"));
        Ok(self.inner.encode(text, true).map_err(refused)?.get_ids().to_vec())
    }

    /// The steps of the library's own `encode`, except that [`MARK`] is removed after the search for added
    /// tokens, from which it has hidden the escaped markup.
    fn encoding(&self, text: &str) -> tokenizers::Result<Encoding> {
        let mut parts = self.inner.get_added_vocabulary().extract_and_normalize(self.inner.get_normalizer(), text);
        if text.contains(MARK) {
            parts.normalize(|part| {
                part.filter(|c| c != MARK);
                Ok(())
            })?;
        }
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut parts)?;
        }
        parts.tokenize(|part| self.inner.get_model().tokenize(part.get()))?;
        parts.into_encoding(None, 0, OffsetType::None)
    }

    /// The largest token id plus one. A model's logits may be padded to more.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens that end an answer; at least one.
    pub fn eos_tokens(&self) -> &[u32] {
        &self.eos
    }

    /// The id of the added or control token with this text, if there is one.
    pub fn added_token(&self, text: &str) -> Option<u32> {
        let id = self.inner.token_to_id(text)?;
        (self.kind(id) != TokenKind::Text).then_some(id)
    }

    /// The token's bytes, which need not be whole UTF-8 characters. Empty for an id beyond the vocabulary.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.tokens.get(token as usize).map_or(&[], |(_, bytes)| bytes)
    }

    /// The token's kind. Ids beyond the vocabulary count as control tokens, so they have no text.
    pub fn kind(&self, token: u32) -> TokenKind {
        self.tokens.get(token as usize).map_or(TokenKind::Control, |(kind, _)| *kind)
    }
}

/// How a vocabulary encodes arbitrary bytes as text.
#[derive(Clone, Copy)]
enum Alphabet {
    /// Each byte is written as a printable character of its own, as in GPT-2.
    ByteLevel,
    /// Text is written as it is, with `▁` for a space and `<0x0A>` for a single byte.
    ByteFallback,
}

impl Alphabet {
    fn of(tokenizer_json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            decoder: Value,
        }
        let parts: Parts = serde_json::from_str(tokenizer_json).map_err(|error| error.to_string())?;
        let nested = parts.decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |kind: &str| std::iter::once(&parts.decoder).chain(nested).any(|decoder| decoder["type"] == kind);
        match (has("ByteLevel"), has("ByteFallback")) {
            (true, _) => Ok(Self::ByteLevel),
            (_, true) => Ok(Self::ByteFallback),
            _ => Err("the decoder is neither ByteLevel nor ByteFallback; other tokenizers are not supported".into()),
        }
    }

    fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => token.chars().flat_map(byte_level_bytes).collect(),
            Self::ByteFallback => fallback_byte(token).map_or_else(|| token.replace('▁', " ").into_bytes(), |byte| vec![byte]),
        }
    }
}

/// The byte that a token such as `<0x0A>` stands for.
fn fallback_byte(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// Decodes GPT-2's alphabet: printable Latin-1 characters stand for their own byte, U+0100 to U+0143 for the
/// other 68 bytes in order. Any other character, which a valid vocabulary does not have, stands for its UTF-8
/// bytes.
fn byte_level_bytes(c: char) -> Vec<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => vec![code as u8],
        code @ 0x100..=0x143 => {
            let hidden = (0..=255u8).filter(|byte| !printable(*byte)).nth(code as usize - 0x100);
            hidden.into_iter().collect()
        }
        _ => c.to_string().into_bytes(),
    }
}

/// The kind and bytes of every token, by id. Ids missing from the vocabulary are control tokens without bytes.
fn token_table(inner: &tokenizers::Tokenizer, alphabet: Alphabet) -> Vec<(TokenKind, Box<[u8]>)> {
    let vocab: HashMap<String, u32> = inner.get_vocab(true);
    let added = inner.get_added_tokens_decoder();
    let size = vocab.values().max().map_or(0, |largest| *largest as usize + 1);
    let mut table = vec![(TokenKind::Control, Box::default()); size];
    for (token, id) in vocab {
        table[id as usize] = match added.get(&id) {
            Some(token) if token.special => (TokenKind::Control, token.content.as_bytes().into()),
            Some(token) => (TokenKind::Added, token.content.as_bytes().into()),
            None => (TokenKind::Text, alphabet.bytes(&token).into()),
        };
    }
    table
}

/// The end-of-answer tokens that any of the configuration files names, without duplicates.
fn eos_tokens(dir: &Path, inner: &tokenizers::Tokenizer) -> Result<Vec<u32>, EngineError> {
    let mut named: Vec<u32> = Vec::new();
    for file in ["generation_config.json", "config.json"] {
        let config = read_optional_json(dir, file)?.unwrap_or_default();
        let ids = match &config["eos_token_id"] {
            Value::Array(ids) => ids.clone(),
            id => vec![id.clone()],
        };
        named.extend(ids.iter().filter_map(Value::as_u64).map(|id| id as u32));
    }
    let config = read_optional_json(dir, "tokenizer_config.json")?.unwrap_or_default();
    let text = token_text(&config["eos_token"]);
    named.extend(text.and_then(|text| inner.token_to_id(text)));
    let mut unique = Vec::new();
    for id in named {
        if inner.id_to_token(id).is_some() && !unique.contains(&id) {
            unique.push(id);
        }
    }
    Ok(unique)
}

/// A token's text in the configuration files, which have it as a string or as the `content` of an object.
pub(super) fn token_text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

#[cfg(test)]
mod tests {
    use super::super::tiny_model;
    use super::*;

    #[test]
    fn the_bytes_of_a_texts_tokens_are_the_text() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        for text in
            ["hello world", "  fn main() {\n\tlet x = \"é→🙂\";\r\n}", "\u{0}\u{7f}\u{ad}", "<|im_start|>user\nhi<tool_call>"]
        {
            let tokens = tokenizer.encode(text).unwrap();
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| tokenizer.bytes(*token)).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }

    #[test]
    fn the_tiny_model_has_its_markup_as_single_tokens_and_two_ends() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let kinds =
            ["<tool_call>", "</tool_call>", "<|im_end|>"].map(|text| tokenizer.kind(tokenizer.added_token(text).unwrap()));
        assert_eq!(kinds, [TokenKind::Added, TokenKind::Added, TokenKind::Control]);
        let ends: Vec<_> = tokenizer.eos_tokens().iter().map(|id| String::from_utf8_lossy(tokenizer.bytes(*id))).collect();
        assert_eq!(ends, ["<|im_end|>", "<|endoftext|>"]);
        assert_eq!((tokenizer.vocab_size(), tokenizer.added_token("the")), (4096, None));
    }

    #[test]
    fn a_folder_without_a_tokenizer_is_named() {
        let error = Tokenizer::load(Path::new("no/such/model")).err().unwrap();
        assert_eq!(error.to_string(), "no/such/model/tokenizer.json: no such file");
    }

    #[test]
    fn byte_fallback_tokens_give_their_bytes() {
        let cases = [("▁the", " the".as_bytes()), ("<0xE2>", &[0xE2]), ("<0xZZ>", b"<0xZZ>"), ("a", b"a")];
        for (token, bytes) in cases {
            assert_eq!(Alphabet::ByteFallback.bytes(token), bytes, "{token}");
        }
    }
}
