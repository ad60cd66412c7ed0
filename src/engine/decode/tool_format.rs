//! What a format of tool calls is: how the parser reads its calls, and how the grammar writes them.

use std::ops::Range;

use serde_json::Value;

use super::arguments::{StartArguments, find_json_arguments};
use super::call_form::{CallForm, Part, Tag};
use super::grammar::{self, Vocabulary};
use super::separator::Separator;
use super::syntax::{Cursor, Read};
use super::thinking::{Thinking, ThinkingTags};

/// A format of tool calls: the variants that the parser accepts, and the one form that the grammar writes.
///
/// A call consists of a tag, a head with the tool's name, the arguments, and a tail. Tags are referred to by
/// their index in [`Self::tags`].
pub trait ToolFormat: Send + Sync {
    /// The opening tags of calls.
    fn tags(&self) -> &'static [Tag];

    /// Reads from a tag, or from the end of the previous call, to the beginning of the arguments.
    ///
    /// # Errors
    /// The text is something else, or still incomplete.
    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head>;

    /// Reads what follows the arguments. `list`: whether [`Head::list`] was set.
    ///
    /// # Errors
    /// The text is something else, or still incomplete. The call counts as complete in either case.
    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next>;

    /// The index of the tag that opens forced calls.
    fn forced_tag(&self) -> usize {
        0
    }

    /// The form of calls under the tag with this index.
    fn form(&self, tag: usize) -> CallForm;

    /// How thoughts are told from the answer. `opened`: the tags around thoughts that the prompt has opened already.
    fn separator(&self, opened: Option<&'static ThinkingTags>) -> Separator {
        Separator::Tags(Thinking::new(opened))
    }

    /// Markup that must be seen, besides that of calls and of thoughts.
    fn markup(&self) -> Vec<&'static str> {
        vec![]
    }

    /// Markup that ends an answer besides what the model's files name. It need not be in the vocabulary.
    fn ends(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the grammar writes before an answer's text.
    fn before_text(&self) -> Vec<Part> {
        vec![]
    }

    /// Where the first arguments are in a text that begins before them.
    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        find_json_arguments(text)
    }

    /// A Lark grammar from the beginning of the arguments to the end of the call, and the parts of the schema that it does not
    /// enforce.
    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        (grammar::json_arguments(form, schema, vocabulary), vec![])
    }
}

/// Where a call's head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStart {
    /// After the tag with this index.
    AfterTag(usize),
    /// After another call under the same tag.
    AfterCall,
}

/// What the parser has read before a call's arguments.
#[derive(Clone, Debug)]
pub struct Head {
    /// The tool's name.
    pub name: String,
    /// How the arguments are written.
    pub arguments: StartArguments,
    /// Whether more calls may follow under the same tag.
    pub list: bool,
}

/// What follows a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another call under the same tag.
    Call,
    /// Text.
    Text,
}
