//! DeepSeek's format, as of V3 (and R1) and as of V3.1:
//!
//! ````text
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>Read
//! ```json
//! {"file_path": "a.txt"}
//! ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>Read<｜tool▁sep｜>{"file_path": "a.txt"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! ````

use super::{Arguments, Head, Next, Place, ToolFormat};
use crate::engine::decode::form::Part::{Markup, Name, Text};
use crate::engine::decode::form::{Form, ListForm, Tag};
use crate::engine::decode::syntax::{Cursor, Read};

pub const CALLS: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

/// The form that the grammar writes; the parser reads both.
pub enum DeepSeek {
    V3,
    V31,
}

impl DeepSeek {
    pub fn of_template(template: &str) -> Self {
        if template.contains("```json") { Self::V3 } else { Self::V31 }
    }
}

impl ToolFormat for DeepSeek {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { text: CALLS, only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head> {
        if place != Place::AfterCall {
            cursor.word(CALL)?;
        }
        let mut name = cursor.until(SEPARATOR)?;
        // In V3 what stands first is the kind of call, and the name comes next.
        if name == "function" {
            name = cursor.until("\n")?;
            cursor.word("```json")?;
        }
        Ok(Head { name: name.trim().into(), arguments: Arguments::Object, list: true })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.option("```")?;
        cursor.word(CALL_END)?;
        Ok(if cursor.either(&[CALL, CALLS_END])? == 0 { Next::Call } else { Next::Text })
    }

    fn form(&self, _tag: usize) -> Form {
        match self {
            Self::V3 => Form {
                open: &[Markup(CALL), Text("function"), Markup(SEPARATOR), Name { quoted: false }],
                after_name: &[Text("\n```json\n")],
                before_object: "",
                after: &[Text("\n```"), Markup(CALL_END)],
                list: Some(ListForm {
                    between: &[Text("\n"), Markup(CALL), Text("function"), Markup(SEPARATOR), Name { quoted: false }],
                    end: &[Markup(CALLS_END)],
                }),
            },
            Self::V31 => Form {
                open: &[Markup(CALL), Name { quoted: false }],
                after_name: &[Markup(SEPARATOR)],
                before_object: "",
                after: &[Markup(CALL_END)],
                list: Some(ListForm { between: &[Markup(CALL), Name { quoted: false }], end: &[Markup(CALLS_END)] }),
            },
        }
    }
}
