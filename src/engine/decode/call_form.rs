//! The written form of tool calls as data. Formats describe themselves with it, and grammars are built from it.

use std::ops::Range;

use super::syntax::{Cursor, Unread, ending_with_start_of};

/// The opening of a call, such as `<tool_call>`.
pub struct Tag {
    /// The tag's words. JSON whitespace may stand between them.
    pub words: &'static [&'static str],
    /// If set, the tag opens a call only at the start of the answer or right after a call, preceded by nothing but these
    /// characters. If not, it opens a call anywhere, and has exactly one word.
    pub only_after: Option<&'static [char]>,
}

impl Tag {
    /// The tag's byte range in the text, if it is there. `fresh`: the text starts the answer, or follows a call.
    pub fn find(&self, text: &str, fresh: bool) -> Option<Range<usize>> {
        let Some(before) = self.only_after else {
            let word = self.words[0];
            return text.find(word).map(|at| at..at + word.len());
        };
        let rest = text.trim_start_matches(before);
        let mut cursor = Cursor::new(rest);
        let start = text.len() - rest.len();
        (fresh && cursor.words(self.words).is_ok()).then(|| start..start + cursor.at())
    }

    /// Length of the text's end that could be the beginning of the tag, in bytes. The text does not contain the whole tag.
    pub fn undecided(&self, text: &str, fresh: bool) -> usize {
        match self.only_after {
            None => ending_with_start_of(text, self.words[0]),
            Some(before) if fresh => {
                let may_be = Cursor::new(text.trim_start_matches(before)).words(self.words) == Err(Unread::More);
                if may_be { text.len() } else { 0 }
            }
            Some(_) => 0,
        }
    }

    /// How many bytes of the tag's words, whitespace not counted, the text ends with. The text does not contain the whole tag.
    pub fn so_far(&self, text: &str, fresh: bool) -> usize {
        let Some(before) = self.only_after else { return ending_with_start_of(text, self.words[0]) };
        let mut cursor = Cursor::new(text.trim_start_matches(before));
        let mut there = 0;
        for word in self.words.iter().filter(|_| fresh) {
            match cursor.word(word) {
                Ok(()) => there += word.len(),
                Err(Unread::More) => return there + cursor.rest().trim_start().len(),
                Err(Unread::No) => return 0,
            }
        }
        there
    }

    /// Length of all words together, in bytes.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.len()).sum()
    }

    /// Whether a token with these bytes would complete the tag and continue past it. `there`: bytes of the tag that precede it.
    pub fn goes_past(&self, there: usize, bytes: &[u8]) -> bool {
        let starts = if there == 0 { bytes.len() } else { 1 };
        (0..starts).any(|start| self.completed_by(there, &bytes[start..]).is_some_and(|left| left > 0))
    }

    /// How many of the bytes remain behind the completed tag; `None` if they do not complete it.
    fn completed_by(&self, mut there: usize, bytes: &[u8]) -> Option<usize> {
        let letters = self.words.concat();
        let mut ends = Vec::new();
        self.words.iter().for_each(|word| ends.push(ends.last().unwrap_or(&0) + word.len()));
        for (at, byte) in bytes.iter().enumerate() {
            match letters.as_bytes().get(there) {
                None => return Some(bytes.len() - at),
                Some(letter) if letter == byte => there += 1,
                Some(_) if b" \n\r\t".contains(byte) && ends.contains(&there) => {}
                Some(_) => return None,
            }
        }
        (there == letters.len()).then_some(0)
    }
}

/// A part of a call's written form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Fixed text, in whatever tokens.
    Text(String),
    /// Markup: a single added token if the vocabulary has one for it, else spelled with ordinary tokens.
    Markup(String),
    /// The tool's name, bare or as a JSON string.
    Name { quoted: bool },
    /// The call's id, as prompts show it ([`crate::engine::text::call_ids`]).
    Id,
    /// The id of the next call in the list.
    NextId,
}

pub(super) fn text(text: &str) -> Part {
    Part::Text(text.into())
}

pub(super) fn markup(text: &str) -> Part {
    Part::Markup(text.into())
}

/// How the grammar writes a call, though the parser may accept variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallForm {
    /// The opening tag, for calls that the grammar opens itself.
    pub tag: Part,
    /// Between the tag and the name, the name included.
    pub open: Vec<Part>,
    /// Between the name and the arguments.
    pub after_name: Vec<Part>,
    /// Whitespace directly before the arguments' opening brace.
    pub before_object: String,
    /// After the arguments: to the end of the call or, in a list, to where the list continues or ends.
    pub after: Vec<Part>,
    /// For formats that put several calls under one tag.
    pub list: Option<ListForm>,
}

/// A list of calls under one tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListForm {
    /// From the end of one call to the next call's name, included.
    pub between: Vec<Part>,
    /// What closes the list after its last call.
    pub end: Vec<Part>,
}

impl CallForm {
    /// The opening tag's text.
    pub fn tag_text(&self) -> &str {
        match &self.tag {
            Part::Text(text) | Part::Markup(text) => text,
            Part::Name { .. } | Part::Id | Part::NextId => "",
        }
    }

    /// Every part of the form.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let list = self.list.iter().flat_map(|list| list.between.iter().chain(&list.end));
        [&self.tag].into_iter().chain(&self.open).chain(&self.after_name).chain(&self.after).chain(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Tag = Tag { words: &["{", "\"name\"", ":"], only_after: Some(&[' ', '\n', ';']) };
    const ANYWHERE: Tag = Tag { words: &["<call>"], only_after: None };

    #[test]
    fn a_tag_of_several_words_may_have_space_between_them() {
        for (text, range) in [("{\"name\":", 0..8), ("\n {\n  \"name\" : \"x\"", 2..14), ("; {\"name\": ", 2..10)] {
            assert_eq!(JSON.find(text, true), Some(range), "{text:?}");
            assert_eq!(JSON.find(text, false), None, "{text:?}");
        }
        assert_eq!(["x {\"name\":", "{\"nam e\":", "{\"age\":"].map(|text| JSON.find(text, true)), [None, None, None]);
        assert_eq!(ANYWHERE.find("a <call>b", false), Some(2..8));
    }

    #[test]
    fn what_may_become_a_tag_is_counted() {
        let counts = |text: &str| (JSON.undecided(text, true), JSON.so_far(text, true));
        let cases = [("", (0, 0)), (" {", (2, 1)), ("{ \n\"na", (6, 4)), ("{\"name\" ", (8, 7)), ("{a", (0, 0)), ("a{", (0, 0))];
        for (text, expected) in cases {
            assert_eq!(counts(text), expected, "{text:?}");
        }
        assert_eq!((ANYWHERE.undecided("x<ca", false), ANYWHERE.so_far("x<ca", false)), (3, 3));
    }

    #[test]
    fn bytes_go_past_a_tag_if_they_complete_it_and_more() {
        let cases: [(usize, &str, bool); 9] = [
            (0, "{\"name\":", false),
            (0, "{\"name\": ", true),
            (0, " {\"name\":\"", true),
            (1, "\n \"name\" :x", true),
            (1, "x\"name\":x", false),
            (4, "me\":", false),
            (4, "me\" : ", true),
            (4, "m e\": ", false),
            (7, ":", false),
        ];
        for (there, bytes, expected) in cases {
            assert_eq!(JSON.goes_past(there, bytes.as_bytes()), expected, "{there} {bytes:?}");
        }
        assert!(ANYWHERE.goes_past(0, b"x<call>y") && ANYWHERE.goes_past(5, b">\n") && !ANYWHERE.goes_past(5, b">"));
    }
}
