//! The format of MiniMax-M2: several calls between one pair of tags. Strings are written without quotes or escapes, other values as
//! JSON:
//!
//! ```text
//! <minimax:tool_call>
//! <invoke name="Read">
//! <parameter name="file_path">a.txt</parameter>
//! </invoke>
//! </minimax:tool_call>
//! ```

use std::ops::Range;

use serde_json::Value;

use super::parameters_in_tags::{ParameterTags, Parameters, ValueLayout, parameter_grammar};
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, ListForm, Tag, markup, text};
use crate::engine::decode::grammar::Vocabulary;
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

const CALLS: &str = "<minimax:tool_call>";
const CALLS_END: &str = "</minimax:tool_call>";
const INVOKE: &str = "<invoke name=";

/// `<parameter name="file_path">`, the value, `</parameter>`; at last `</invoke>`.
static TAGS: ParameterTags = ParameterTags {
    open: "<parameter name=\"",
    after_name: &["\">"],
    close: "</parameter>",
    end: Some("</invoke>"),
    layout: ValueLayout::Inline,
};

pub(super) struct MiniMax;

impl ToolFormat for MiniMax {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &[CALLS], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        if start != HeadStart::AfterCall {
            cursor.word(INVOKE)?;
        }
        let name = cursor.string()?;
        cursor.word(">")?;
        if name.is_empty() {
            return Err(Unread::No);
        }
        Ok(Head { name, arguments: |_, tool| Ok(Box::new(Parameters::of(&TAGS, tool))), list: true })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        Ok(if cursor.either(&[INVOKE, CALLS_END])? == 0 { Next::Call } else { Next::Text })
    }

    fn form(&self, _tag: usize) -> CallForm {
        let name = Name { quoted: true };
        CallForm {
            tag: markup(CALLS),
            open: vec![text("\n<invoke name="), name.clone()],
            after_name: vec![text(">\n")],
            before_object: String::new(),
            after: vec![text("</invoke>\n")],
            list: Some(ListForm { between: vec![text(INVOKE), name], end: vec![markup(CALLS_END)] }),
        }
    }

    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        TAGS.find(text)
    }

    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        parameter_grammar(&TAGS, schema, &form.after, vocabulary)
    }
}
