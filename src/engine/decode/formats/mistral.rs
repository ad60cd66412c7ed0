//! Mistral's format, which differs by version of its tokenizer: a JSON list of calls, or a name and its arguments
//! per call.
//!
//! ```text
//! [TOOL_CALLS][{"name": "Read", "arguments": {"file_path": "a.txt"}}, {"name": …}]
//! [TOOL_CALLS]Read{"file_path": "a.txt"}[TOOL_CALLS]…
//! [TOOL_CALLS]Read[ARGS]{"file_path": "a.txt"}[TOOL_CALLS]…
//! ```

use crate::engine::decode::arguments::{json_object, json_object_or_string};
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, ListForm, Tag, markup, text};
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

const CALLS: &str = "[TOOL_CALLS]";
const CALL_ID: &str = "[CALL_ID]";
const ARGS: &str = "[ARGS]";

pub(super) struct Mistral;

impl ToolFormat for Mistral {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &[CALLS], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        if start == HeadStart::AfterCall || cursor.option("[")? {
            cursor.words(&["{", "\"name\"", ":"])?;
            let name = cursor.string()?;
            cursor.words(&[",", "\"arguments\"", ":"])?;
            return Ok(Head { name, arguments: json_object_or_string, list: true });
        }
        let rest = cursor.rest();
        let end = rest.find(['[', '{', '\n']).ok_or(Unread::More)?;
        let name = rest[..end].trim().to_owned();
        if name.is_empty() {
            return Err(Unread::No);
        }
        cursor.until(&rest[..end])?;
        if cursor.rest().starts_with('{') {
            return Ok(Head { name, arguments: json_object, list: false });
        }
        if cursor.either(&[ARGS, CALL_ID])? == 1 {
            cursor.until(ARGS)?;
        }
        Ok(Head { name, arguments: json_object, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next> {
        if !list {
            return Ok(Next::Text);
        }
        cursor.more_fields()?;
        cursor.word("}")?;
        Ok(if cursor.either(&[",", "]"])? == 0 { Next::Call } else { Next::Text })
    }

    fn form(&self, _tag: usize) -> CallForm {
        CallForm {
            tag: markup(CALLS),
            open: vec![text("[{\"name\": "), Name { quoted: true }],
            after_name: vec![text(", \"arguments\":")],
            before_object: " ".into(),
            after: vec![text("}")],
            list: Some(ListForm { between: vec![text(", {\"name\": "), Name { quoted: true }], end: vec![text("]")] }),
        }
    }
}
