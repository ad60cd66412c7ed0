//! Reading markup and JSON of which only the beginning may have arrived.

/// Why the expected syntax was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The text so far fits, but more is needed.
    More,
    /// The text is something else.
    No,
}

/// Something read, or why not.
pub(super) type Read<T> = Result<T, Unread>;

/// Reads a text from its beginning. JSON whitespace before a word is skipped.
pub struct Cursor<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    /// Reads this word.
    pub fn word(&mut self, word: &str) -> Read<()> {
        self.either(&[word]).map(drop)
    }

    /// Reads these words, one after another.
    pub fn words(&mut self, words: &[&str]) -> Read<()> {
        words.iter().try_for_each(|word| self.word(word))
    }

    /// Reads one of these words, none of which may be the start of another. Returns its index.
    pub fn either(&mut self, words: &[&str]) -> Read<usize> {
        let rest = trim_start(self.rest);
        for (which, word) in words.iter().enumerate() {
            if let Some(after) = rest.strip_prefix(word) {
                self.rest = after;
                return Ok(which);
            }
        }
        Err(if words.iter().any(|word| word.starts_with(rest)) { Unread::More } else { Unread::No })
    }

    /// Reads this word if it comes next; returns whether it did.
    pub fn option(&mut self, word: &str) -> Read<bool> {
        match self.word(word) {
            Ok(()) => Ok(true),
            Err(Unread::No) => Ok(false),
            Err(Unread::More) => Err(Unread::More),
        }
    }

    /// Reads a JSON string.
    pub fn string(&mut self) -> Read<String> {
        self.word("\"")?;
        let mut escaped = false;
        let end = self.rest.bytes().position(|byte| {
            let closing = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closing
        });
        let end = end.ok_or(Unread::More)?;
        let string = serde_json::from_str(&format!("\"{}", &self.rest[..=end])).map_err(|_| Unread::No)?;
        self.rest = &self.rest[end + 1..];
        Ok(string)
    }

    /// Reads up to and including `end`; returns the text before it.
    pub fn until(&mut self, end: &str) -> Read<&'a str> {
        let at = self.rest.find(end).ok_or(Unread::More)?;
        let before = &self.rest[..at];
        self.rest = &self.rest[at + end.len()..];
        Ok(before)
    }

    /// The text that has not been read.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// Skips JSON whitespace; returns the next character, which stays unread.
    pub fn peek(&mut self) -> Read<char> {
        self.rest = trim_start(self.rest);
        self.rest.chars().next().ok_or(Unread::More)
    }

    /// Reads any number of `, "key": "value"`.
    pub fn more_fields(&mut self) -> Read<()> {
        while self.option(",")? {
            self.string()?;
            self.word(":")?;
            self.string()?;
        }
        Ok(())
    }
}

/// The text without JSON whitespace at its start.
fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\n', '\r', '\t'])
}

/// The length of the longest proper prefix of `whole` that `text` ends with.
pub(super) fn ending_with_start_of(text: &str, whole: &str) -> usize {
    let mut starts = (1..whole.len()).rev().filter(|length| whole.is_char_boundary(*length));
    starts.find(|length| text.ends_with(&whole[..*length])).unwrap_or(0)
}

/// Follows a JSON object or array byte by byte, just enough to find its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JsonScan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl JsonScan {
    /// Takes a byte. Returns true when it completes the object or array.
    pub(super) fn feed(&mut self, byte: u8) -> bool {
        match (self.in_string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (true, b'"') => self.in_string = false,
            (true, _) => {}
            (false, b'"') => self.in_string = true,
            (false, b'{' | b'[') => self.depth += 1,
            (false, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (false, _) => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_needs_more() {
        let whole = "{ \"name\" : \"a\\\"b\" , \"id\": \"x\" } end]";
        let read = |text: &str| {
            let mut cursor = Cursor::new(text);
            cursor.words(&["{", "\"name\"", ":"])?;
            let name = cursor.string()?;
            cursor.more_fields()?;
            cursor.word("}")?;
            Ok((name, cursor.until("]")?.to_owned(), cursor.at()))
        };
        assert_eq!(read(whole), Ok(("a\"b".into(), " end".into(), whole.len())));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err(Unread::More), "{length}");
        }
        assert_eq!(read("{ \"game\""), Err(Unread::No));
    }

    #[test]
    fn one_of_several_words() {
        let either = |text| Cursor::new(text).either(&["]", "}, {"]);
        assert_eq!([" ]", "}, {x", "}", "]]", "x"].map(either), [Ok(0), Ok(1), Err(Unread::More), Ok(0), Err(Unread::No)]);
    }
}
