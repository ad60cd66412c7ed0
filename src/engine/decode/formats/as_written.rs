//! Derives the form of calls from what a template writes for past ones.
//!
//! If the model writes a call exactly as the next prompt will show it, that prompt can reuse the answer's keys and values.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::decode::Piece;
use crate::engine::decode::call_form::{CallForm, ListForm, Part, Tag};
use crate::engine::decode::grammar::Vocabulary;
use crate::engine::decode::parser::Parser;
use crate::engine::decode::separator::Separator;
use crate::engine::decode::syntax::{Cursor, Read};
use crate::engine::decode::thinking::{THINKING_TAGS, ThinkingTags};
use crate::engine::decode::tool_format::{Head, HeadStart, Next, ToolFormat};
use crate::engine::text::{PastCall, PastCalls, TokenKind, Tokenizer, past_calls};

/// A format with the form of one tag replaced.
pub(super) struct AsWritten {
    format: Arc<dyn ToolFormat>,
    /// Byte offset of the call in the text that the template wrote for one call.
    pub start: usize,
    tag: usize,
    form: CallForm,
}

impl ToolFormat for AsWritten {
    fn tags(&self) -> &'static [Tag] {
        self.format.tags()
    }

    fn head(&self, cursor: &mut Cursor, start: HeadStart) -> Read<Head> {
        self.format.head(cursor, start)
    }

    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next> {
        self.format.tail(cursor, list)
    }

    fn forced_tag(&self) -> usize {
        self.tag
    }

    fn form(&self, tag: usize) -> CallForm {
        if tag == self.tag { self.form.clone() } else { self.format.form(tag) }
    }

    fn separator(&self, opened: Option<&'static ThinkingTags>) -> Separator {
        self.format.separator(opened)
    }

    fn markup(&self) -> Vec<&'static str> {
        self.format.markup()
    }

    fn ends(&self) -> &'static [&'static str] {
        self.format.ends()
    }

    fn before_text(&self) -> Vec<Part> {
        self.format.before_text()
    }

    fn find_arguments(&self, text: &str) -> Option<Range<usize>> {
        self.format.find_arguments(text)
    }

    fn arguments_grammar(&self, form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        self.format.arguments_grammar(form, schema, vocabulary)
    }
}

impl AsWritten {
    /// `None` if the template's calls are not in this format, or cannot be expressed as a [`CallForm`].
    pub(super) fn new(format: Arc<dyn ToolFormat>, calls: &PastCalls, tokenizer: &Tokenizer) -> Option<Self> {
        let [first, second] = past_calls();
        let one = RenderedCalls::read(&format, &calls.one, &[&first])?;
        if !opens_turn(calls, one.start) {
            return None;
        }
        let parts = |text: &str, calls: [&PastCall; 2]| parts(text, calls.map(|call| call.id.as_str()), tokenizer);
        let [CallRanges { name, arguments }] = &one.ranges(&format, &[&first])?[..] else { return None };
        let (before_name, after_name) = (&one.text[one.tag_length..name.start], &one.text[name.end..arguments.start]);
        let (before_name, after_name, quoted) = without_quotes(before_name, after_name);
        let head = after_name.trim_end_matches(' ');
        let rest_of_head = &after_name[head.len()..];
        let after = &one.text[arguments.end..];
        // Without an end, a name could not be told from a longer one that begins with it.
        let usual = format.form(one.tag).after_name;
        let after_name = |head: &str| if head.is_empty() { usual } else { parts(head, [&first, &second]) };
        let form = CallForm {
            tag: tag(&one.text[..one.tag_length], tokenizer),
            open: [parts(before_name, [&first, &second]), vec![Part::Name { quoted }]].concat(),
            before_object: rest_of_head.into(),
            after_name: after_name(head),
            after: parts(after, [&first, &second]),
            list: None,
        };
        let form = match (one.list, &calls.two) {
            (false, _) => form,
            (true, None) => return None,
            (true, Some(two)) => {
                let two = RenderedCalls::read(&format, two, &[&first, &second])?;
                let [first_call, second_call] = &two.ranges(&format, &[&first, &second])?[..] else { return None };
                let between = first_call.arguments.end..second_call.name.start;
                let (between, _, _) = without_quotes(&two.text[between], "\"");
                let between = parts(between, [&first, &second]);
                let end = parts(&two.text[second_call.arguments.end..], [&second, &first]);
                in_list(form, between, end, quoted)
            }
        };
        let takes_ids = form.after.iter().any(|part| matches!(part, Part::Id | Part::NextId));
        (!takes_ids).then_some(Self { format, start: one.start, tag: one.tag, form })
    }
}

/// Whether only thinking tags and whitespace precede the call in its turn. Other markup before it means an unknown format.
fn opens_turn(calls: &PastCalls, start: usize) -> bool {
    let before = calls.opening.and_then(|opening| calls.one.get(opening..start)).unwrap_or_default();
    let tags = THINKING_TAGS.iter().flat_map(|tags| [tags.open, tags.close]);
    tags.fold(before.to_owned(), |before, tag| before.replace(tag, "")).trim().is_empty()
}

/// Calls that a parser found in a text, with their byte ranges.
struct RenderedCalls<'a> {
    /// Where the first call starts in the rendered turn, in bytes.
    start: usize,
    /// From the first call's tag to the end of the last call.
    text: &'a str,
    tag: usize,
    tag_length: usize,
    list: bool,
}

/// The byte ranges of a call's name and arguments.
struct CallRanges {
    name: Range<usize>,
    arguments: Range<usize>,
}

impl<'a> RenderedCalls<'a> {
    /// Finds these calls in the text, one directly after the other.
    fn read(format: &Arc<dyn ToolFormat>, text: &'a str, calls: &[&PastCall]) -> Option<Self> {
        let tags = format.tags().iter().enumerate();
        let starts = text.char_indices().flat_map(|(at, _)| tags.clone().map(move |(which, tag)| (at, which, tag)));
        starts.into_iter().find_map(|(at, which, tag)| {
            let text = &text[at..];
            let range = tag.find(text, true).filter(|range| range.start == 0)?;
            let after = after_calls(format, text, calls)?;
            let head = format.head(&mut Cursor::new(&text[range.end..]), HeadStart::AfterTag(which)).ok()?;
            let text = &text[..text.len() - after];
            Some(Self { start: at, text, tag: which, tag_length: range.end, list: head.list })
        })
    }

    /// The ranges of each call's name and arguments.
    fn ranges(&self, format: &Arc<dyn ToolFormat>, calls: &[&PastCall]) -> Option<Vec<CallRanges>> {
        let mut at = self.tag_length;
        let ranges = |call: &&PastCall| {
            let start = at + self.text[at..].find(call.name)?;
            let name = start..start + call.name.len();
            let arguments = format.find_arguments(&self.text[name.end..])?;
            let arguments = name.end + arguments.start..name.end + arguments.end;
            at = arguments.end;
            Some(CallRanges { name, arguments })
        };
        calls.iter().map(ranges).collect()
    }
}

/// If the text begins with exactly these calls: the number of bytes behind them.
fn after_calls(format: &Arc<dyn ToolFormat>, text: &str, calls: &[&PastCall]) -> Option<usize> {
    let mut parser = Parser::new(format.clone(), Arc::new([]));
    let pieces = parser.push(text).into_iter().chain(parser.finish());
    let mut pieces = pieces.map(|placed| placed.piece).peekable();
    for call in calls {
        let started = matches!(pieces.next()?, Piece::ToolStart { name } if name == call.name);
        let mut arguments = String::new();
        while let Some(Piece::ToolInput(more)) = pieces.next_if(|piece| matches!(piece, Piece::ToolInput(_))) {
            arguments.push_str(&more);
        }
        let same = serde_json::from_str::<Value>(&arguments).is_ok_and(|read| read == call.arguments);
        if !started || !same || pieces.next() != Some(Piece::ToolEnd) {
            return None;
        }
    }
    pieces.map(|piece| if let Piece::Text(text) = piece { Some(text.len()) } else { None }).sum()
}

/// Strips the quotes around a name from its surroundings, and says whether there were any.
fn without_quotes<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str, bool) {
    match (before.strip_suffix('"'), after.strip_prefix('"')) {
        (Some(before), Some(after)) => (before, after, true),
        _ => (before, after, false),
    }
}

/// The form of calls in a list. The beginning that the list's end and its separator share belongs to every call.
fn in_list(form: CallForm, mut between: Vec<Part>, mut end: Vec<Part>, quoted: bool) -> CallForm {
    let mut after = Vec::new();
    while let (Some(one), Some(other)) = (between.first(), end.first()) {
        if let (Part::Text(one), Part::Text(other)) = (one, other)
            && one != other
        {
            let same: String = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
            let rests = [one, other].map(|text| text[same.len()..].to_owned());
            for (parts, rest) in [&mut between, &mut end].into_iter().zip(rests) {
                parts.splice(..1, (!rest.is_empty()).then_some(Part::Text(rest)));
            }
            after.extend((!same.is_empty()).then_some(Part::Text(same)));
            break;
        }
        if one != other || matches!(one, Part::Id) {
            break;
        }
        after.push(between.remove(0));
        end.remove(0);
    }
    between.push(Part::Name { quoted });
    CallForm { after, list: Some(ListForm { between, end }), ..form }
}

/// A tag as a part: markup, so that it becomes a single token if the vocabulary has one.
fn tag(text: &str, tokenizer: &Tokenizer) -> Part {
    if tokenizer.added_token(text).is_some() { Part::Markup(text.into()) } else { Part::Text(text.into()) }
}

/// Splits a text into parts: added tokens of the vocabulary, ids of this and the next call, and plain text.
fn parts(text: &str, ids: [&str; 2], tokenizer: &Tokenizer) -> Vec<Part> {
    let added = (0..tokenizer.vocab_size() as u32).filter(|token| tokenizer.kind(*token) != TokenKind::Text);
    let added = added.filter_map(|token| std::str::from_utf8(tokenizer.bytes(token)).ok()).filter(|token| !token.is_empty());
    let mut known: Vec<(&str, Part)> = vec![(ids[0], Part::Id), (ids[1], Part::NextId)];
    known.extend(added.filter(|token| text.contains(token)).map(|token| (token, Part::Markup(token.into()))));
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let found = known.iter().filter(|(known, _)| rest.starts_with(known)).max_by_key(|(known, _)| known.len());
        let length = match found {
            None => {
                plain.push(c);
                c.len_utf8()
            }
            Some((known, part)) => {
                parts.extend((!plain.is_empty()).then(|| Part::Text(std::mem::take(&mut plain))));
                parts.push(part.clone());
                known.len()
            }
        };
        rest = &rest[length..];
    }
    parts.extend((!plain.is_empty()).then_some(Part::Text(plain)));
    parts
}

#[cfg(test)]
mod tests;
