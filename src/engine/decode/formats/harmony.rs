//! The format of gpt-oss: a call is a message to a function, named in the message's header, with JSON as its content. What messages
//! are is in `decode/channels`. The first form is how the chat template writes past calls, the second how the model likes to write:
//!
//! ```text
//! <|start|>assistant to=functions.Read<|channel|>commentary json<|message|>{"file_path": "a.txt"}<|call|>
//! <|start|>assistant<|channel|>commentary to=functions.Read <|constrain|>json<|message|>{"file_path": "a.txt"}<|call|>
//! ```
//!
//! `<|call|>` ends the answer, whether or not the model's files say so; it is no part of the call here.

use crate::engine::decode::arguments::json_object;
use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Part, Tag, markup, text};
use crate::engine::decode::channels::{CALL, CHANNEL, CONSTRAIN, Channels, MESSAGE, RETURN, TO_FUNCTIONS};
use crate::engine::decode::separator::Separator;
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::thinking::ThinkingTags;
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

/// The index of the tag without a channel before it.
const ROLE: usize = 0;

pub(super) struct Harmony;

impl ToolFormat for Harmony {
    fn tags(&self) -> &'static [Tag] {
        &[
            Tag { words: &[TO_FUNCTIONS], only_after: None },
            Tag { words: &["<|channel|>commentary to=functions"], only_after: None },
            Tag { words: &["<|channel|>analysis to=functions"], only_after: None },
        ]
    }

    fn head(&self, cursor: &mut Cursor, _start: HeadStart) -> Read<Head> {
        cursor.word(".")?;
        let rest = cursor.rest();
        let end = rest.find([' ', '<', '\n', '{']).ok_or(Unread::More)?;
        let name = rest[..end].to_owned();
        let after = &rest[end..];
        let header = match after.find(MESSAGE) {
            Some(header) => &after[..header],
            // Part of it may be the beginning of what is looked for.
            None => after,
        };
        if name.is_empty() || header.contains(['{', '\n']) {
            return Err(Unread::No);
        }
        cursor.until(MESSAGE)?;
        Ok(Head { name, arguments: json_object, list: false })
    }

    fn tail(&self, _cursor: &mut Cursor, _list: bool) -> Read<Next> {
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> CallForm {
        let (opening, after_name) = match tag {
            ROLE => (TO_FUNCTIONS, vec![markup(CHANNEL), text("commentary json"), markup(MESSAGE)]),
            other => (self.tags()[other].words[0], vec![text(" "), markup(CONSTRAIN), text("json"), markup(MESSAGE)]),
        };
        CallForm {
            tag: text(opening),
            open: vec![text("."), Name { quoted: false }],
            after_name,
            before_object: String::new(),
            after: vec![],
            list: None,
        }
    }

    fn separator(&self, _opened: Option<&'static ThinkingTags>) -> Separator {
        Separator::Channels(Channels::new())
    }

    fn markup(&self) -> Vec<&'static str> {
        Channels::markup().into()
    }

    fn ends(&self) -> &'static [&'static str] {
        &[CALL, RETURN]
    }

    fn before_text(&self) -> Vec<Part> {
        vec![markup(CHANNEL), text("final"), markup(MESSAGE)]
    }
}
