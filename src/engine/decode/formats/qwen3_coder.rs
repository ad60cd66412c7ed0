//! Qwen3-Coder's format. Strings are written without quotes or escapes, other values as JSON:
//!
//! ```text
//! <tool_call>
//! <function=Read>
//! <parameter=file_path>
//! a.txt
//! </parameter>
//! </function>
//! </tool_call>
//! ```
//!
//! Models often leave out the first tag, and sometimes `</parameter>`. So a value also ends before a line that begins with the
//! tag of a later parameter of the schema.

use std::ops::Range;

use serde_json::Value;

use crate::engine::decode::call_form::Part::Name;
use crate::engine::decode::call_form::{CallForm, Tag, markup, text};
use crate::engine::decode::grammar::Vocabulary;
use crate::engine::decode::syntax::{Cursor, Read, Unread};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};

use super::parameters_in_tags::{ParameterTags, Parameters, ValueLayout, parameter_grammar};

/// The index of `<function=` among the tags.
const FUNCTION: usize = 1;

/// `<parameter=file_path>`, the value on lines of its own, `</parameter>`; at last `</function>`.
static TAGS: ParameterTags = ParameterTags {
    open: "<parameter=",
    after_name: &[">"],
    close: "</parameter>",
    end: Some("</function>"),
    layout: ValueLayout::OwnLines,
};

pub(super) struct Qwen3Coder;

impl ToolFormat for Qwen3Coder {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &["<tool_call>"], only_after: None }, Tag { words: &["<function="], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        if start != HeadStart::AfterTag(FUNCTION) {
            cursor.word("<function=")?;
        }
        let rest = cursor.rest();
        let end = rest.find(['>', '<', '\n']).ok_or(Unread::More)?;
        if !rest[end..].starts_with('>') {
            return Err(Unread::No);
        }
        let name = cursor.until(">")?.trim().to_owned();
        if name.is_empty() {
            Err(Unread::No)
        } else {
            Ok(Head { name, arguments: |_, tool| Ok(Box::new(Parameters::of(&TAGS, tool))), list: false })
        }
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("</tool_call>")?;
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> CallForm {
        let (tag, open) = match tag {
            FUNCTION => (text("<function="), vec![Name { quoted: false }]),
            _ => (markup("<tool_call>"), vec![text("\n<function="), Name { quoted: false }]),
        };
        CallForm {
            tag,
            open,
            after_name: vec![text(">\n")],
            before_object: String::new(),
            after: vec![text("</function>\n"), markup("</tool_call>")],
            list: None,
        }
    }

    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        TAGS.find(text)
    }

    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        parameter_grammar(&TAGS, schema, &form.after, vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::engine::decode::{AnswerDecoders, Piece, joined};
    use crate::engine::text::{Tokenizer, tiny_model};

    #[test]
    fn a_forgotten_end_is_held_to_the_schema_too() {
        let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
        let properties = json!({"path": {"type": "string"}, "line": {"type": "integer"}, "old": {"type": "string"},
                                "kind": {"enum": ["a", "b"]}, "all": {"type": "boolean"}});
        let schema =
            json!({"type": "object", "properties": properties, "required": ["path", "old"], "additionalProperties": false});
        let request = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [{"name": "Edit", "input_schema": schema}],
                             "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
        let decoders = AnswerDecoders::new(tokenizer.clone(), Arc::new(Qwen3Coder)).unwrap();
        let mut decoder = decoders.start(&serde_json::from_value(request).unwrap(), None).unwrap();
        let single = |byte: u8| (0..tokenizer.vocab_size() as u32).find(|token| tokenizer.bytes(*token) == [byte]).unwrap();
        let mut pieces = decoder.push(tokenizer.added_token("<tool_call>").unwrap()).unwrap();
        // After each of these texts the next byte is not what the model may write.
        let texts = [
            ("\n<function=Edit>\n<parameter=path>\na.txt\n<parameter=kind", '>'),
            ("s>\n<parameter=line>\n12\n", 'x'),
            ("<parameter=old>\nx <parameter=all>\n<parameter=path>\n<parameter=kind>\n", 'c'),
            ("a\n<parameter=all>\nfalse\n</parameter>\n</function>", '<'),
        ];
        for (text, not) in texts {
            for byte in text.bytes() {
                assert!(decoder.mask().unwrap().unwrap().allows(single(byte)), "{:?} after {pieces:?}", byte as char);
                pieces.extend(decoder.push(single(byte)).unwrap());
            }
            assert!(!decoder.mask().unwrap().unwrap().allows(single(not as u8)), "{not:?} after {text:?}");
        }
        for end in [single(b'\n'), tokenizer.added_token("</tool_call>").unwrap()] {
            pieces.extend(decoder.push(end).unwrap());
        }
        let input = pieces.iter().filter_map(|piece| if let Piece::ToolInput(json) = piece { Some(json.as_str()) } else { None });
        let input: Value = serde_json::from_str(&input.collect::<String>()).unwrap();
        let expected = json!({"path": "a.txt\n<parameter=kinds>", "line": 12, "old": "x <parameter=all>\n<parameter=path>",
                              "kind": "a", "all": false});
        assert_eq!(input, expected, "{:?}", joined(pieces));
    }
}
