//! The grammar of parameters in tags.

use serde_json::{Value, json};

use super::{ParameterTags, ValueLayout};
use crate::engine::decode::call_form::Part;
use crate::engine::decode::formats::declared::{beyond_arguments, declared, is_string, object, resolve};
use crate::engine::decode::formats::patterns::anchored;
use crate::engine::decode::grammar::{Vocabulary, lark_string};
use crate::engine::decode::json_schema::with_options;
use crate::engine::decode::string_formats;

/// A tool's parameters as Lark rules. Rule `p0` matches the first parameter and everything after it, `p1` the second, and so on.
struct ParameterGrammar<'a> {
    tags: &'a ParameterTags,
    vocabulary: &'a Vocabulary<'a>,
    root: &'a Value,
    rules: String,
    left_out: Vec<String>,
}

/// A line break that may stand between tags, or not.
const LINE_BREAK: &str = "\"\\n\"?";

/// A parameter of the schema.
struct DeclaredParameter<'a> {
    name: &'a str,
    schema: &'a Value,
    required: bool,
}

/// How the grammar closes a value.
struct Closing {
    /// What ends the terminal of a string value, which cannot contain tokens of markup.
    within: Option<String>,
    /// What follows as symbols of their own.
    after: String,
}

impl Closing {
    /// All of it, after a value that is no terminal.
    fn whole(&self) -> String {
        [self.within.as_deref().unwrap_or_default(), &self.after].join(" ")
    }
}

/// The grammar of all parameters and the end of the call, and the parts of the schema that it does not enforce.
pub(in crate::engine::decode::formats) fn parameter_grammar(
    tags: &ParameterTags,
    root: &Value,
    end: &[Part],
    vocabulary: &Vocabulary,
) -> (String, Vec<String>) {
    let mut grammar = ParameterGrammar { tags, vocabulary, root, rules: String::new(), left_out: beyond_arguments(root) };
    let schema = object(root);
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let required = |name: &str| required.iter().any(|one| one == name);
    let declared = declared(root).into_iter();
    let declared: Vec<_> = declared.map(|(name, schema)| DeclaredParameter { name, schema, required: required(name) }).collect();
    let any = declared.is_empty() && schema["additionalProperties"] != false;
    let (parameters, end) = (if any { "any*" } else { "" }, vocabulary.inline(end));
    grammar.rules.push_str(&format!("start: rest0\nrest{}: {parameters} {end}\n", declared.len()));
    if any {
        grammar.any(&schema["additionalProperties"]);
    }
    (0..declared.len()).for_each(|at| grammar.parameter(at, &declared));
    (grammar.rules, grammar.left_out)
}

impl ParameterGrammar<'_> {
    /// A tag: one token if the vocabulary has one for it, else its text.
    fn tag(&self, tag: &str) -> String {
        self.vocabulary.inline(&[Part::Markup(tag.into())])
    }

    /// What stands between a parameter's name and its value.
    fn after_name(&self) -> String {
        match self.tags.layout {
            ValueLayout::OwnLines => lark_string(&format!("{}\n", self.tags.after_name.concat())),
            ValueLayout::Inline => {
                self.tags.after_name.iter().map(|tag| self.tag(tag)).collect::<Vec<_>>().join(&format!(" {LINE_BREAK} "))
            }
        }
    }

    /// What ends a value.
    fn closing(&self) -> Closing {
        let close = self.tags.close;
        match self.tags.layout {
            ValueLayout::OwnLines => Closing { within: Some(lark_string(&format!("\n{close}\n"))), after: String::new() },
            ValueLayout::Inline if self.vocabulary.has_token(close) => {
                Closing { within: None, after: format!("{} {LINE_BREAK}", self.tag(close)) }
            }
            ValueLayout::Inline => Closing { within: Some(lark_string(close)), after: LINE_BREAK.into() },
        }
    }

    /// A rule for parameters of any name, for tools that declare none.
    fn any(&mut self, schema: &Value) {
        let (open, after_name, close) = (self.tag(self.tags.open), self.after_name(), self.closing().whole());
        self.json("any", schema);
        self.rules.push_str(&format!("any: {open} /[A-Za-z_][A-Za-z0-9_-]*/ {after_name} json_any {close}\n"));
    }

    /// The rule for the parameter with this index and everything after it. Its closing tag may be missing before a later one.
    fn parameter(&mut self, at: usize, declared: &[DeclaredParameter]) {
        let DeclaredParameter { name, schema, required } = declared[at];
        let after = &declared[at + 1..];
        let skippable = after.iter().take_while(|parameter| !parameter.required).count();
        let next: Vec<usize> = match self.tags.layout {
            ValueLayout::OwnLines => (at + 1..declared.len()).take(skippable + 1).collect(),
            ValueLayout::Inline => vec![],
        };
        let (name, rest) = (lark_string(name), at + 1);
        let close = self.closing();
        let forgotten = |next: &usize| lark_string(&format!("{}\n", self.tags.forgotten_end(declared[*next].name)));
        let ends: Vec<(usize, String)> = next.iter().map(|next| (*next, forgotten(next))).collect();
        let skipped = if required { String::new() } else { format!(" | rest{rest}") };
        let mut value;
        let schema = resolve(schema, self.root);
        if is_string(schema) {
            let text = self.text(&name, schema, after);
            self.rules.push_str(&format!("TEXT{at}: ({text}) {}\n", close.within.as_deref().unwrap_or_default()));
            value = format!("TEXT{at} {} rest{rest}", close.after);
            for (next, end) in &ends {
                self.rules.push_str(&format!("TEXT{at}_{next}: ({text}) {end}\n"));
                value.push_str(&format!(" | TEXT{at}_{next} value{next}"));
            }
        } else {
            self.json(&at.to_string(), schema);
            value = format!("json_{at} {} rest{rest}", close.whole());
            ends.iter().for_each(|(next, end)| value.push_str(&format!(" | json_{at} {end} value{next}")));
        }
        let (open, after_name) = (self.tag(self.tags.open), self.after_name());
        self.rules.push_str(&format!("rest{at}: {open} {name} {after_name} value{at}{skipped}\nvalue{at}: {value}\n"));
    }

    /// A rule for JSON values of this schema.
    fn json(&mut self, name: &str, schema: &Value) {
        let mut schema = if schema.is_object() { schema.clone() } else { json!({}) };
        for definitions in ["$defs", "definitions"] {
            if let (Some(keywords), Some(defined)) = (schema.as_object_mut(), self.root.get(definitions)) {
                keywords.insert(definitions.into(), defined.clone());
            }
        }
        self.rules.push_str(&format!("json_{name}: %json {}\n", with_options(schema)));
    }

    /// The terminal for a string value that these parameters may follow.
    fn text(&mut self, name: &str, schema: &Value, after: &[DeclaredParameter]) -> String {
        let choices = schema["enum"].as_array().cloned().or_else(|| schema.get("const").map(|one| vec![one.clone()]));
        if let Some(choices) = choices {
            return choices.iter().filter_map(Value::as_str).map(lark_string).collect::<Vec<_>>().join(" | ");
        }
        let own_lines = self.tags.layout == ValueLayout::OwnLines;
        let later = after.iter().filter(|_| own_lines).map(|parameter| self.tags.forgotten_end(parameter.name));
        let ends: Vec<_> = later.chain([self.tags.close.into()]).map(|end| lark_string(&end)).collect();
        let any = "/(?s:.*)/";
        let mut text = format!("{any} & ~({any} ({}) {any})", ends.join(" | "));
        self.narrow(name, schema, &mut text);
        text
    }

    /// Adds the schema's constraints on a string.
    fn narrow(&mut self, name: &str, schema: &Value, text: &mut String) {
        if schema.get("minLength").is_some() || schema.get("maxLength").is_some() {
            let least = schema["minLength"].as_u64().unwrap_or(0);
            let most = schema["maxLength"].as_u64().map(|most| most.to_string()).unwrap_or_default();
            text.push_str(&format!(" & /(?s:.{{{least},{most}}})/"));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            let of_format = value.as_str().filter(|_| keyword == "format").and_then(string_formats::pattern);
            if let Some(pattern) = of_format {
                text.push_str(&format!(" & /{}/", anchored(&pattern)));
                continue;
            }
            match (keyword.as_str(), value) {
                ("type" | "minLength" | "maxLength" | "title" | "description" | "default" | "examples", _) => {}
                ("pattern", Value::String(pattern)) => text.push_str(&format!(" & /{}/", anchored(pattern))),
                ("allOf", Value::Array(schemas)) => schemas.iter().for_each(|schema| self.narrow(name, schema, text)),
                _ => self.left_out.push(format!("{keyword} {value} of {name}")),
            }
        }
    }
}
