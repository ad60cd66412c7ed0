//! The Hermes format, which Qwen's models use too:
//!
//! ```text
//! <tool_call>
//! {"name": "Read", "arguments": {"file_path": "a.txt"}}
//! </tool_call>
//! ```

use crate::engine::decode::arguments::json_object;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Tag, markup, text};
use crate::engine::decode::syntax::{Cursor, Read};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

pub(super) struct Hermes;

impl ToolFormat for Hermes {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &["<tool_call>"], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, _start: HeadStart) -> Read<Head> {
        cursor.words(&["{", "\"name\"", ":"])?;
        let name = cursor.string()?;
        cursor.words(&[",", "\"arguments\"", ":"])?;
        Ok(Head { name, arguments: json_object, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.words(&["}", "</tool_call>"])?;
        Ok(Next::Text)
    }

    fn form(&self, _tag: usize) -> CallForm {
        CallForm {
            tag: markup("<tool_call>"),
            open: vec![text("\n{\"name\": "), Name { quoted: true }],
            after_name: vec![text(", \"arguments\":")],
            before_object: " ".into(),
            after: vec![text("}\n"), markup("</tool_call>")],
            list: None,
        }
    }
}
