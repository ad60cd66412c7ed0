//! How a tool call looks on paper: the data that a format describes itself with, and that grammars are made of.

/// The text that a call starts with.
pub struct Tag {
    pub text: &'static str,
    /// The tag counts only at the start of the answer or after a call, with nothing before it but these characters.
    pub only_after: Option<&'static [char]>,
}

/// A part of a call as the grammar writes it.
#[derive(Clone, Copy)]
pub enum Part {
    /// This text.
    Text(&'static str),
    /// This markup: one token where the vocabulary has it, spelled out where not.
    Markup(&'static str),
    /// The name of the tool, as a JSON string or as it is.
    Name { quoted: bool },
}

/// The one form in which the grammar writes calls.
pub struct Form {
    /// From after the tag to the name.
    pub open: &'static [Part],
    /// From the name to the arguments.
    pub after_name: &'static [Part],
    /// Between the head and a JSON object.
    pub before_object: &'static str,
    /// From the arguments to the end of the call.
    pub after: &'static [Part],
    /// Where other calls may follow under the same tag: the parts between them, and those that end the last one.
    pub list: Option<ListForm>,
}

/// How several calls stand under one tag.
pub struct ListForm {
    pub between: &'static [Part],
    pub end: &'static [Part],
}
