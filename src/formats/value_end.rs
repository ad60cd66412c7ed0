//! Where a JSON value ends, without reading what is in it.

use memchr::memchr2;

/// Looks for the end of a value that comes in pieces.
#[derive(Default)]
pub(super) struct ValueEnd {
    /// How many lists and objects are open.
    depth: usize,
    inside: Inside,
}

#[derive(Default)]
enum Inside {
    /// Between strings.
    #[default]
    Nothing,
    String,
    /// Behind a backslash in a string.
    Escape,
    /// A number or a word that stands alone.
    Word,
}

impl ValueEnd {
    /// How many of the next bytes belong to the value, and whether it ends with them.
    pub(super) fn within(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match (&self.inside, byte) {
                (Inside::String, b'"') => self.inside = Inside::Nothing,
                (Inside::String, b'\\') => self.inside = Inside::Escape,
                (Inside::String, _) => {
                    at += memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
                    continue;
                }
                (Inside::Escape, _) => {
                    self.inside = Inside::String;
                    continue;
                }
                (Inside::Word, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') => return (at - 1, true),
                (Inside::Word, _) => continue,
                (Inside::Nothing, b'"') => {
                    self.inside = Inside::String;
                    continue;
                }
                (Inside::Nothing, b'{' | b'[') => {
                    self.depth += 1;
                    continue;
                }
                (Inside::Nothing, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                (Inside::Nothing, _) => {
                    if self.depth == 0 {
                        self.inside = Inside::Word;
                    }
                    continue;
                }
            }
            if self.depth == 0 && matches!(self.inside, Inside::Nothing) {
                return (at, true);
            }
        }
        (at, false)
    }
}
