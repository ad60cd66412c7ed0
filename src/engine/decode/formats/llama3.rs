//! Llama 3's format: the whole answer is a call, or several calls with `;` between them.
//!
//! ```text
//! {"name": "Read", "parameters": {"file_path": "a.txt"}}; {"name": …}
//! {"type": "function", "name": "Read", "parameters": {"file_path": "a.txt"}}
//! <|python_tag|>{"name": "Read", "parameters": {"file_path": "a.txt"}}
//! ```

use crate::engine::decode::arguments::json_object;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Tag, markup, text};
use crate::engine::decode::syntax::{Cursor, Read};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

const TYPED: usize = 1;
const PYTHON: usize = 2;

pub(super) struct Llama3;

impl ToolFormat for Llama3 {
    fn tags(&self) -> &'static [Tag] {
        const BEFORE: Option<&[char]> = Some(&[' ', '\n', '\t', ';']);
        &[
            Tag { words: &["{", "\"name\"", ":"], only_after: BEFORE },
            Tag { words: &["{", "\"type\"", ":", "\"function\"", ",", "\"name\"", ":"], only_after: BEFORE },
            Tag { words: &["<|python_tag|>"], only_after: None },
        ]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        if start == HeadStart::AfterTag(PYTHON) {
            cursor.word("{")?;
            if cursor.either(&["\"name\"", "\"type\""])? == 1 {
                cursor.words(&[":", "\"function\"", ",", "\"name\""])?;
            }
            cursor.word(":")?;
        }
        let name = cursor.string()?;
        cursor.word(",")?;
        cursor.either(&["\"parameters\"", "\"arguments\""])?;
        cursor.word(":")?;
        Ok(Head { name, arguments: json_object, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("}")?;
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> CallForm {
        let (tag, open) = match tag {
            TYPED => (text("{\"type\": \"function\", \"name\":"), " "),
            PYTHON => (markup("<|python_tag|>"), "{\"name\": "),
            _ => (text("{\"name\":"), " "),
        };
        CallForm {
            tag,
            open: vec![text(open), Name { quoted: true }],
            after_name: vec![text(", \"parameters\":")],
            before_object: " ".into(),
            after: vec![text("}")],
            list: None,
        }
    }
}
