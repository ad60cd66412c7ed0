//! Llama 3's format: the answer is the call, or calls with `;` between them.
//!
//! ```text
//! {"name": "Read", "parameters": {"file_path": "a.txt"}}; {"name": …}
//! <|python_tag|>{"name": "Read", "parameters": {"file_path": "a.txt"}}
//! ```

use super::{Arguments, Head, Next, Place, ToolFormat};
use crate::engine::decode::form::Part::{Name, Text};
use crate::engine::decode::form::{Form, Tag};
use crate::engine::decode::syntax::{Cursor, Read};

const PYTHON: usize = 1;

pub struct Llama3;

impl ToolFormat for Llama3 {
    fn tags(&self) -> &'static [Tag] {
        const BEFORE: Option<&[char]> = Some(&[' ', '\n', '\t', ';']);
        &[Tag { text: "{\"name\":", only_after: BEFORE }, Tag { text: "<|python_tag|>", only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head> {
        if place == Place::AfterTag(PYTHON) {
            cursor.words(&["{", "\"name\"", ":"])?;
        }
        let name = cursor.string()?;
        cursor.word(",")?;
        cursor.either(&["\"parameters\"", "\"arguments\""])?;
        cursor.word(":")?;
        Ok(Head { name, arguments: Arguments::Object, list: false })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("}")?;
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> Form {
        let open: &[_] = match tag {
            PYTHON => &[Text("{\"name\": "), Name { quoted: true }],
            _ => &[Text(" "), Name { quoted: true }],
        };
        Form { open, after_name: &[Text(", \"parameters\":")], before_object: " ", after: &[Text("}")], list: None }
    }
}
