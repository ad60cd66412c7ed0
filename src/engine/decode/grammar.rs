//! Grammars of tool calls in Lark, as llguidance reads it.

use serde_json::{Value, json};

use super::form::{Form, Part, Tag};
use crate::engine::text::Tokenizer;

/// Which markup is a token of its own.
pub struct Vocabulary<'a>(pub &'a Tokenizer);

impl Vocabulary<'_> {
    /// The parts as Lark symbols, with the terminals that these need. Neighbouring text is one terminal: its end is a token's
    /// end, and no other boundary is forced on the tokens.
    fn symbols(&self, parts: &[Part], names: &[&str], prefix: &str) -> (String, String) {
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
                    text.push(format!("({})", names.iter().map(name).collect::<Vec<_>>().join(" | ")));
                }
            }
        }
        flush(&mut text, &mut start);
        (start.join(" "), terminals)
    }

    /// These parts as Lark symbols that need no terminals.
    pub fn inline(&self, parts: &[Part]) -> String {
        let symbol = |part: &Part| match part {
            Part::Text(text) => Some(lark_string(text)),
            Part::Markup(markup) => {
                Some(self.0.added_token(markup).map_or_else(|| lark_string(markup), |token| format!("<[{token}]>")))
            }
            Part::Name { .. } => None,
        };
        parts.iter().filter_map(symbol).collect::<Vec<_>>().join(" ")
    }
}

/// From the first tag to where the arguments start, for one of these tools.
pub fn whole_opening(tag: &Tag, form: &Form, names: &[&str], vocabulary: &Vocabulary) -> String {
    opening(&[&[Part::Markup(tag.text)], form.open, form.after_name].concat(), names, vocabulary)
}

/// The same, after this tag.
pub fn rest_of_opening(form: &Form, names: &[&str], vocabulary: &Vocabulary) -> String {
    opening(&[form.open, form.after_name].concat(), names, vocabulary)
}

fn opening(parts: &[Part], names: &[&str], vocabulary: &Vocabulary) -> String {
    let (start, terminals) = vocabulary.symbols(parts, names, "OPENING");
    format!("start: {start}\n{terminals}")
}

/// What may follow a call in a list: its end, and unless `last`, another call up to its arguments. `None`: nothing can.
pub fn after_call(form: &Form, names: &[&str], last: bool, vocabulary: &Vocabulary) -> Option<String> {
    let list = form.list.as_ref()?;
    let (end, mut terminals) = vocabulary.symbols(list.end, &[], "END");
    let mut start = end;
    if !last {
        let (next, more) = vocabulary.symbols(&[list.between, form.after_name].concat(), names, "NEXT");
        start = format!("{start} | {next}");
        terminals.push_str(&more);
    }
    Some(format!("start: {start}\n{terminals}"))
}

/// From where the head ends to where the call does, for arguments that are JSON.
///
/// The usual boundary of a token is before the space that a brace may have.
pub fn json_arguments(form: &Form, schema: &Value, vocabulary: &Vocabulary) -> String {
    let before = if form.before_object.is_empty() { String::new() } else { lark_string(form.before_object) };
    format!("start: {before} arguments {}\narguments: %json {schema}", vocabulary.inline(form.after))
}

/// A string as Lark writes it, which is as JSON does.
pub fn lark_string(text: &str) -> String {
    json!(text).to_string()
}
