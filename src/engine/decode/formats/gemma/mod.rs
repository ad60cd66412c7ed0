//! The format of Gemma 4: keys without quotes, and strings between marks of their own, without escapes. Keys are sorted, as its
//! template sorts those of past calls:
//!
//! ```text
//! <|tool_call>call:Read{file_path:<|"|>a.txt<|"|>,lines:[1,2]}<tool_call|>
//! ```
//!
//! `grammar` writes it, `reader` reads it. `<|tool_response>`, which the model writes after its last call, ends the answer, whether
//! or not the model's files say so.

mod grammar;
mod reader;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

use self::grammar::members_grammar;
use self::reader::Members;
use crate::engine::decode::arguments::ArgumentReader;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Tag, markup, text};
use crate::engine::decode::grammar::Vocabulary;
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};
use crate::wire::Tool;

/// Before and after a string.
const MARK: &str = "<|\"|>";

/// Begins thoughts; a name follows.
const CHANNEL: &str = "<|channel>";

/// Begins a result.
const RESPONSE: &str = "<|tool_response>";

pub(super) struct Gemma;

/// Starts after the brace that opens the arguments.
fn start_members(_cursor: &mut Cursor, _tool: Option<&Tool>) -> Read<Box<dyn ArgumentReader>> {
    Ok(Box::new(Members::new()))
}

impl ToolFormat for Gemma {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &["<|tool_call>"], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, _start: HeadStart) -> Read<Head> {
        cursor.word("call:")?;
        let rest = cursor.rest();
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
        let end = rest.find(|c| !is_name(c)).ok_or(Unread::More)?;
        let (name, after) = rest.split_at(end);
        if name.is_empty() || !after.starts_with('{') {
            return Err(Unread::No);
        }
        cursor.until("{")?;
        Ok(Head { name: name.into(), arguments: start_members, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("<tool_call|>")?;
        Ok(Next::Text)
    }

    fn form(&self, _tag: usize) -> CallForm {
        CallForm {
            tag: markup("<|tool_call>"),
            open: vec![text("call:"), Name { quoted: false }],
            after_name: vec![text("{")],
            before_object: String::new(),
            after: vec![text("}"), markup("<tool_call|>")],
            list: None,
        }
    }

    fn markup(&self) -> Vec<&'static str> {
        vec![MARK, CHANNEL]
    }

    fn ends(&self) -> &'static [&'static str] {
        &[RESPONSE]
    }

    /// The members between the braces.
    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        let start = text.find('{')? + 1;
        let mut held = text[start..].to_owned();
        let (_, done) = Members::new().read(&mut held);
        done.then(|| start..text.len() - held.len() - 1)
    }

    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        members_grammar(schema, &form.after, vocabulary)
    }
}
