//! DeepSeek's format. The first call below is as V3 and R1 write it, the second as V3.1 does:
//!
//! ````text
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>Read
//! ```json
//! {"file_path": "a.txt"}
//! ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>Read<｜tool▁sep｜>{"file_path": "a.txt"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! ````

use crate::engine::decode::arguments::json_object;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, ListForm, Tag, markup};
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

const CALLS: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";

pub(super) struct DeepSeek;

impl ToolFormat for DeepSeek {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &[CALLS], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        if start != HeadStart::AfterCall {
            cursor.word(CALL)?;
        }
        let mut name = cursor.until(SEPARATOR)?;
        // V3 writes the kind of call first, and then the name.
        if name == "function" {
            name = cursor.until("\n")?;
            cursor.word("```json")?;
        }
        Ok(Head { name: name.trim().into(), arguments: json_object, list: true })
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.option("```")?;
        cursor.word(CALL_END)?;
        match cursor.either(&[CALL, CALLS_END]) {
            Ok(0) => Ok(Next::Call),
            Err(Unread::More) => Err(Unread::More),
            // The distilled models omit the end of the list after a single call, as their template does.
            Ok(_) | Err(Unread::No) => Ok(Next::Text),
        }
    }

    fn form(&self, _tag: usize) -> CallForm {
        CallForm {
            tag: markup(CALLS),
            open: vec![markup(CALL), Name { quoted: false }],
            after_name: vec![markup(SEPARATOR)],
            before_object: String::new(),
            after: vec![markup(CALL_END)],
            list: Some(ListForm { between: vec![markup(CALL), Name { quoted: false }], end: vec![markup(CALLS_END)] }),
        }
    }
}
