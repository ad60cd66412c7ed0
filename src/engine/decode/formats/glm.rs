//! The format of GLM-4.5 to 4.7. Strings are written without quotes or escapes, other values as JSON. 4.7 leaves out the line
//! breaks; the grammar asks for the one after the name, by which it tells `Task` from `TaskStop`:
//!
//! ```text
//! <tool_call>Read
//! <arg_key>file_path</arg_key>
//! <arg_value>a.txt</arg_value>
//! </tool_call>
//! ```

use std::ops::Range;

use serde_json::Value;

use super::parameters_in_tags::{ParameterTags, Parameters, ValueLayout, parameter_grammar};
use crate::engine::decode::arguments::ArgumentReader;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Tag, markup, text};
use crate::engine::decode::grammar::Vocabulary;
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};
use crate::wire::Tool;

/// A key and a value, each in tags of its own.
static TAGS: ParameterTags = ParameterTags {
    open: "<arg_key>",
    after_name: &["</arg_key>", "<arg_value>"],
    close: "</arg_value>",
    end: None,
    layout: ValueLayout::Inline,
};

pub(super) struct Glm;

/// Starts at a key or, where there are none, at the call's end. Anything else means that the text only began like a call.
fn start_arguments(cursor: &mut Cursor, tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>> {
    Cursor::new(cursor.rest()).either(&[TAGS.open, "</tool_call>"])?;
    Ok(Box::new(Parameters::of(&TAGS, tool)))
}

impl ToolFormat for Glm {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &["<tool_call>"], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, _start: HeadStart) -> Read<Head> {
        // Skips white space before the name.
        cursor.peek()?;
        let rest = cursor.rest();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
        let end = rest.find(|c| !is_name(c)).ok_or(Unread::More)?;
        let (name, after) = rest.split_at(end);
        if name.is_empty() || !after.starts_with(['<', '\n']) {
            return Err(Unread::No);
        }
        cursor.word(name)?;
        Ok(Head { name: name.into(), arguments: start_arguments, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("</tool_call>")?;
        Ok(Next::Text)
    }

    fn form(&self, _tag: usize) -> CallForm {
        CallForm {
            tag: markup("<tool_call>"),
            open: vec![Name { quoted: false }],
            after_name: vec![text("\n")],
            before_object: String::new(),
            after: vec![markup("</tool_call>")],
            list: None,
        }
    }

    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        TAGS.find(text)
    }

    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        parameter_grammar(&TAGS, schema, &form.after, vocabulary)
    }
}
