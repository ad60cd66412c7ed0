//! Arguments as tags, one for each parameter: strings without quotes or escapes, other values as JSON. What the tags are is up to
//! the format; `grammar` writes them, `reader` reads them.

mod grammar;
mod reader;

use std::ops::Range;

pub(super) use self::grammar::parameter_grammar;
pub(super) use self::reader::Parameters;

/// A format's tags around parameters.
pub(super) struct ParameterTags {
    /// Before a parameter's name.
    pub open: &'static str,
    /// Between its name and its value.
    pub after_name: &'static [&'static str],
    /// After its value.
    pub close: &'static str,
    /// After the last parameter, if the format has a tag for that.
    pub end: Option<&'static str>,
    pub layout: ValueLayout,
}

/// How values stand between their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueLayout {
    /// On lines of their own: the line breaks around a value belong to the tags. Models forget the closing tag now and then, so
    /// that a value also ends before a line that begins with the tag of a later parameter of the schema.
    OwnLines,
    /// Right between the tags. A line break may stand between tags.
    Inline,
}

impl ParameterTags {
    /// The tag of parameter `next` as it ends a value whose own closing tag is missing.
    fn forgotten_end(&self, next: &str) -> String {
        format!("\n{}{next}{}", self.open, self.after_name.concat())
    }

    /// The range of the first call's arguments in a text that begins before them.
    pub(super) fn find(&self, text: &str) -> Option<Range<usize>> {
        let text = self.end.and_then(|end| text.find(end)).map_or(text, |end| &text[..end]);
        let end = text.rfind(self.close)? + self.close.len();
        Some(text.find(self.open)?..end + usize::from(text[end..].starts_with('\n')))
    }
}
