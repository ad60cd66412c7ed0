//! Writes the grammars of tool calls, in llguidance's dialect of Lark.

use serde_json::{Value, json};

use super::call_form::{CallForm, Part};
use crate::engine::text::Tokenizer;

/// What grammars of the same form differ in from call to call.
pub(super) struct Fill<'a> {
    /// The names of the tools that may be called.
    pub names: &'a [&'a str],
    /// The ids of this call and of the one after it.
    pub ids: [&'a str; 2],
}

/// The tokenizer's vocabulary, which decides what markup is a token of its own.
pub struct Vocabulary<'a>(pub &'a Tokenizer);

impl Vocabulary<'_> {
    /// Translates parts to a sequence of Lark symbols and the definitions of the terminals in it. Neighbouring texts become one
    /// terminal, so that tokens may cross from one to the next; a token boundary is required at the end of a terminal only.
    fn symbols(&self, parts: &[Part], fill: &Fill, prefix: &str) -> (String, String) {
        let mut start = Vec::new();
        let mut terminals = String::new();
        let mut text: Vec<String> = Vec::new();
        let mut flush = |text: &mut Vec<String>, start: &mut Vec<String>| {
            if !text.is_empty() {
                let name = format!("{prefix}{}", start.len());
                terminals.push_str(&format!("{name}: {}\n", text.join(" ")));
                start.push(name);
                text.clear();
            }
        };
        for part in parts {
            match part {
                Part::Text(literal) => text.push(lark_string(literal)),
                Part::Markup(markup) => match self.0.added_token(markup) {
                    None => text.push(lark_string(markup)),
                    Some(token) => {
                        flush(&mut text, &mut start);
                        start.push(format!("<[{token}]>"));
                    }
                },
                Part::Name { quoted } => {
                    let name = |name: &&str| lark_string(&if *quoted { json!(name).to_string() } else { (*name).to_owned() });
                    text.push(format!("({})", fill.names.iter().map(name).collect::<Vec<_>>().join(" | ")));
                }
                Part::Id => text.push(lark_string(fill.ids[0])),
                Part::NextId => text.push(lark_string(fill.ids[1])),
            }
        }
        flush(&mut text, &mut start);
        (start.join(" "), terminals)
    }

    /// Whether markup is a token of its own.
    pub(super) fn has_token(&self, markup: &str) -> bool {
        self.0.added_token(markup).is_some()
    }

    /// Translates parts to inline Lark symbols without terminals. Names and ids are left out.
    pub fn inline(&self, parts: &[Part]) -> String {
        let symbol = |part: &Part| match part {
            Part::Text(text) => Some(lark_string(text)),
            Part::Markup(markup) => {
                Some(self.0.added_token(markup).map_or_else(|| lark_string(markup), |token| format!("<[{token}]>")))
            }
            Part::Name { .. } | Part::Id | Part::NextId => None,
        };
        parts.iter().filter_map(symbol).collect::<Vec<_>>().join(" ")
    }
}

/// A call from its tag up to its arguments.
pub(super) fn whole_opening(form: &CallForm, fill: &Fill, vocabulary: &Vocabulary) -> String {
    opening(&[std::slice::from_ref(&form.tag), &form.open, &form.after_name].concat(), fill, vocabulary)
}

/// An answer with an output format: a JSON value of the schema or, if there are tools, a call up to its arguments. Without a
/// schema: such a call, or nothing. `before`: what the value comes after.
pub(super) fn answer(schema: Option<&Value>, before: &[Part], form: &CallForm, fill: &Fill, vocabulary: &Vocabulary) -> String {
    let before = vocabulary.inline(before);
    let parts = [std::slice::from_ref(&form.tag), &form.open, &form.after_name].concat();
    let (call, terminals) = if fill.names.is_empty() { Default::default() } else { vocabulary.symbols(&parts, fill, "OPENING") };
    match schema {
        None => format!("start: call?\ncall: {call}\n{terminals}"),
        Some(schema) if fill.names.is_empty() => format!("start: {before} value\nvalue: %json {schema}"),
        Some(schema) => format!("start: {before} value | call\ncall: {call}\n{terminals}value: %json {schema}"),
    }
}

/// A call from just after its tag up to its arguments.
pub(super) fn rest_of_opening(form: &CallForm, fill: &Fill, vocabulary: &Vocabulary) -> String {
    opening(&[&form.open[..], &form.after_name].concat(), fill, vocabulary)
}

fn opening(parts: &[Part], fill: &Fill, vocabulary: &Vocabulary) -> String {
    let (start, terminals) = vocabulary.symbols(parts, fill, "OPENING");
    format!("start: {start}\n{terminals}")
}

/// What may follow a call in a list: the end of the list or, unless `last`, the next call up to its arguments. `None` for
/// formats without lists.
pub(super) fn after_call(form: &CallForm, fill: &Fill, last: bool, vocabulary: &Vocabulary) -> Option<String> {
    let list = form.list.as_ref()?;
    let (end, mut terminals) = vocabulary.symbols(&list.end, fill, "END");
    let mut start = end;
    if !last {
        let (next, more) = vocabulary.symbols(&[&list.between[..], &form.after_name].concat(), fill, "NEXT");
        start = format!("{start} | {next}");
        terminals.push_str(&more);
    }
    Some(format!("start: {start}\n{terminals}"))
}

/// Arguments as a JSON object, and the rest of the call after them.
///
/// The space before the opening brace is part of the grammar, because most vocabularies have tokens that begin with a space.
pub(super) fn json_arguments(form: &CallForm, schema: &Value, vocabulary: &Vocabulary) -> String {
    let before = if form.before_object.is_empty() { String::new() } else { lark_string(&form.before_object) };
    format!("start: {before} arguments {}\narguments: %json {schema}", vocabulary.inline(&form.after))
}

/// A string literal in Lark, which is written as in JSON.
pub(super) fn lark_string(text: &str) -> String {
    json!(text).to_string()
}
