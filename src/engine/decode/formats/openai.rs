//! OpenAI's JSON for calls, written as text: the whole answer is one object.
//!
//! ```text
//! {"tool_calls": [{"type": "function", "function": {"name": "Read", "arguments": {"file_path": "a.txt"}}}]}
//! {"function_call": {"name": "Read", "arguments": "{\"file_path\": \"a.txt\"}"}}
//! ```

use crate::engine::decode::arguments::json_object_or_string;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, ListForm, Tag, text};
use crate::engine::decode::syntax::{Cursor, Read};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

const FUNCTION_CALL: usize = 1;

pub(super) struct OpenAi;

impl ToolFormat for OpenAi {
    fn tags(&self) -> &'static [Tag] {
        const BEFORE: Option<&[char]> = Some(&[' ', '\n', '\t']);
        &[
            Tag { words: &["{", "\"tool_calls\"", ":"], only_after: BEFORE },
            Tag { words: &["{", "\"function_call\"", ":"], only_after: BEFORE },
        ]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        let list = start != HeadStart::AfterTag(FUNCTION_CALL);
        if start == HeadStart::AfterTag(0) {
            cursor.word("[")?;
        }
        cursor.word("{")?;
        if list {
            // Other fields may come before `function`.
            while cursor.either(&["\"function\"", "\"id\"", "\"type\"", "\"index\""])? != 0 {
                cursor.word(":")?;
                cursor.string()?;
                cursor.word(",")?;
            }
            cursor.words(&[":", "{"])?;
        }
        cursor.words(&["\"name\"", ":"])?;
        let name = cursor.string()?;
        cursor.words(&[",", "\"arguments\"", ":"])?;
        Ok(Head { name, arguments: json_object_or_string, list })
    }

    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next> {
        cursor.word("}")?;
        cursor.more_fields()?;
        cursor.word("}")?;
        if list && cursor.either(&[",", "]"])? == 0 {
            return Ok(Next::Call);
        }
        if list {
            cursor.word("}")?;
        }
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> CallForm {
        if tag == FUNCTION_CALL {
            return CallForm {
                tag: text("{\"function_call\":"),
                open: vec![text(" {\"name\": "), Name { quoted: true }],
                after_name: vec![text(", \"arguments\":")],
                before_object: " ".into(),
                after: vec![text("}}")],
                list: None,
            };
        }
        const CALL: &str = "{\"type\": \"function\", \"function\": {\"name\": ";
        CallForm {
            tag: text("{\"tool_calls\":"),
            open: vec![text(" ["), text(CALL), Name { quoted: true }],
            after_name: vec![text(", \"arguments\":")],
            before_object: " ".into(),
            after: vec![text("}}")],
            list: Some(ListForm { between: vec![text(", "), text(CALL), Name { quoted: true }], end: vec![text("]}")] }),
        }
    }
}
