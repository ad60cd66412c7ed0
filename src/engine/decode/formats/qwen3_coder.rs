//! Qwen3-Coder's format. Strings are written as they are, other values as JSON:
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
//! The models often leave out the first tag.

use serde_json::{Map, Value, json};

use super::{Arguments, Head, Next, Place, ToolFormat};
use crate::engine::decode::arguments::{ArgumentReader, escaped, take_before};
use crate::engine::decode::form::Part::Name;
use crate::engine::decode::form::{Form, Tag, markup, text};
use crate::engine::decode::grammar::{Vocabulary, lark_string};
use crate::engine::decode::schema::with_options;
use crate::engine::decode::syntax::{Cursor, Read, Unread, ending_with_start_of};
use crate::wire::Tool;

const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";
const FUNCTION: usize = 1;
const FUNCTION_END: &str = "</function>";

pub struct Qwen3Coder;

impl ToolFormat for Qwen3Coder {
    fn tags(&self) -> &'static [Tag] {
        &[Tag { words: &["<tool_call>"], only_after: None }, Tag { words: &["<function="], only_after: None }]
    }

    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head> {
        if place != Place::AfterTag(FUNCTION) {
            cursor.word("<function=")?;
        }
        let rest = cursor.rest();
        let end = rest.find(['>', '<', '\n']).ok_or(Unread::More)?;
        if !rest[end..].starts_with('>') {
            return Err(Unread::No);
        }
        let name = cursor.until(">")?.trim().to_owned();
        if name.is_empty() { Err(Unread::No) } else { Ok(Head { name, arguments: Arguments::Parameters, list: false }) }
    }

    fn tail(&self, cursor: &mut Cursor, _list: bool) -> Read<Next> {
        cursor.word("</tool_call>")?;
        Ok(Next::Text)
    }

    fn form(&self, tag: usize) -> Form {
        let (tag, open) = match tag {
            FUNCTION => (text("<function="), vec![Name { quoted: false }]),
            _ => (markup("<tool_call>"), vec![text("\n<function="), Name { quoted: false }]),
        };
        Form {
            tag,
            open,
            after_name: vec![text(">\n")],
            before_object: String::new(),
            after: vec![text("</function>\n"), markup("</tool_call>")],
            list: None,
        }
    }

    fn arguments(&self, form: &Form, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        let mut grammar = Grammar { root: schema, rules: String::new(), left_out: Vec::new() };
        let parameters = grammar.parameters();
        let end = vocabulary.inline(&form.after);
        (format!("start: {parameters} {end}\n{}", grammar.rules), grammar.left_out)
    }
}

/// Parameters being read, as the members of a JSON object.
pub struct Parameters {
    /// The parameters that the tool's schema says are strings.
    strings: Vec<String>,
    state: ParameterState,
    written: usize,
}

enum ParameterState {
    Between,
    /// Right after the parameter's tag; whether it is a string.
    Start(bool),
    Text,
    /// A value that is JSON, or a string if it is not.
    Json,
}

impl Parameters {
    /// Those of this tool; without one, values that are JSON are taken as that.
    pub fn of(tool: Option<&Tool>) -> Self {
        let root = tool.map(|tool| &tool.input_schema);
        let properties = root.and_then(|root| object(root)["properties"].as_object()).into_iter().flatten();
        let is_string = |schema: &Value| root.is_some_and(|root| is_string(resolve(schema, root)));
        let strings = properties.filter(|(_, schema)| is_string(schema)).map(|(name, _)| name.clone()).collect();
        Self { strings, state: ParameterState::Between, written: 0 }
    }

    fn step(&mut self, held: &mut String, json: &mut String) -> Read<bool> {
        match self.state {
            ParameterState::Between => {
                let mut cursor = Cursor::new(held);
                let which = cursor.either(&[PARAMETER, FUNCTION_END]);
                if which == Ok(0) {
                    let name = cursor.until(">")?.to_owned();
                    held.drain(..cursor.at());
                    json.push_str(if self.written == 0 { "{" } else { ", " });
                    json.push_str(&format!("{}: ", json!(name)));
                    self.written += 1;
                    self.state = ParameterState::Start(self.strings.contains(&name));
                    return Ok(false);
                }
                if which == Err(Unread::More) {
                    return Err(Unread::More);
                }
                // Anything but a parameter ends them; what it is shows in what follows.
                if which.is_ok() {
                    held.drain(..cursor.at());
                }
                json.push_str(if self.written == 0 { "{}" } else { "}" });
                Ok(true)
            }
            ParameterState::Start(is_string) => {
                let first = held.chars().next().ok_or(Unread::More)?;
                if first == '\n' {
                    held.drain(..1);
                }
                self.state = if is_string { ParameterState::Text } else { ParameterState::Json };
                json.push_str(if is_string { "\"" } else { "" });
                Ok(false)
            }
            ParameterState::Text => {
                if let Some(at) = held.find(PARAMETER_END) {
                    let (text, _) = take_before(held, PARAMETER_END);
                    json.push_str(&escaped(text[..at].strip_suffix('\n').unwrap_or(&text)));
                    json.push('"');
                    self.state = ParameterState::Between;
                    return Ok(false);
                }
                let undecided = overlap(held);
                let rest = held.split_off(held.len() - undecided);
                json.push_str(&escaped(&std::mem::replace(held, rest)));
                Err(Unread::More)
            }
            ParameterState::Json => {
                if !held.contains(PARAMETER_END) {
                    return Err(Unread::More);
                }
                let (text, _) = take_before(held, PARAMETER_END);
                json.push_str(&as_json(text.strip_suffix('\n').unwrap_or(&text)));
                self.state = ParameterState::Between;
                Ok(false)
            }
        }
    }
}

impl ArgumentReader for Parameters {
    fn read(&mut self, held: &mut String) -> (String, bool) {
        let mut json = String::new();
        loop {
            match self.step(held, &mut json) {
                Ok(false) => {}
                Ok(true) => return (json, true),
                Err(_) => return (json, false),
            }
        }
    }
}

/// How much of the end of the text may be the start of a parameter's end.
fn overlap(text: &str) -> usize {
    ending_with_start_of(text, &format!("\n{PARAMETER_END}")).max(ending_with_start_of(text, PARAMETER_END))
}

/// The value as JSON text: as it is, if it is that; as what Python calls these three; or as a string.
fn as_json(text: &str) -> String {
    match text.trim() {
        "True" => "true".into(),
        "False" => "false".into(),
        "None" => "null".into(),
        value if serde_json::from_str::<Value>(value).is_ok() => value.into(),
        _ => json!(text).to_string(),
    }
}

/// The schema that this one refers to, if it does.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|at| at.strip_prefix('#')).and_then(|at| root.pointer(at));
    target.unwrap_or(schema)
}

/// The schema of the arguments' object: of several to choose from, the first that is one.
fn object(root: &Value) -> &Value {
    let schema = resolve(root, root);
    let branches = ["anyOf", "oneOf"].iter().filter_map(|keyword| schema[*keyword].as_array()).flatten();
    let mut branches = branches.map(|branch| resolve(branch, root)).filter(|branch| branch["properties"].is_object());
    if schema["properties"].is_object() { schema } else { branches.next().unwrap_or(schema) }
}

/// Whether a schema takes strings and nothing else.
fn is_string(schema: &Value) -> bool {
    let all_strings = |values: &Value| values.as_array().is_some_and(|values| values.iter().all(Value::is_string));
    match &schema["type"] {
        Value::Null => all_strings(&schema["enum"]) || schema["const"].is_string(),
        kind => kind == "string",
    }
}

/// A tool's parameters as Lark rules.
struct Grammar<'a> {
    root: &'a Value,
    rules: String,
    left_out: Vec<String>,
}

impl Grammar<'_> {
    /// The symbols of all parameters, in the schema's order.
    fn parameters(&mut self) -> String {
        let schema = object(self.root);
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        const HELD_OR_SILENT: [&str; 12] = [
            "type",
            "properties",
            "required",
            "additionalProperties",
            "$ref",
            "$defs",
            "definitions",
            "$schema",
            "title",
            "description",
            "default",
            "x-guidance",
        ];
        let keywords = schema.as_object().into_iter().chain(self.root.as_object()).flatten().map(|(key, _)| key.as_str());
        let beyond = keywords.filter(|key| !HELD_OR_SILENT.contains(key));
        self.left_out.extend(beyond.map(|key| format!("{key} of all arguments")));
        let mut symbols = Vec::new();
        for (name, property) in properties {
            let symbol = format!("p{}", symbols.len());
            self.parameter(&symbol, &lark_string(name), property);
            symbols.push(if required.iter().any(|one| one == name) { symbol } else { format!("{symbol}?") });
        }
        let any = json!({});
        for name in required.iter().filter_map(Value::as_str).filter(|name| !properties.contains_key(*name)) {
            let symbol = format!("p{}", symbols.len());
            self.parameter(&symbol, &lark_string(name), &any);
            symbols.push(symbol);
        }
        if symbols.is_empty() && schema["additionalProperties"] != false {
            self.parameter("any", "/[A-Za-z_][A-Za-z0-9_-]*/", &schema["additionalProperties"]);
            symbols.push("any*".into());
        }
        symbols.join(" ")
    }

    fn parameter(&mut self, symbol: &str, name: &str, schema: &Value) {
        let (open, close) = (lark_string(PARAMETER), lark_string(&format!("\n{PARAMETER_END}\n")));
        let schema = resolve(schema, self.root);
        let upper = symbol.to_uppercase();
        let value = if is_string(schema) {
            let text = self.text(name, schema);
            self.rules.push_str(&format!("TEXT_{upper}: ({text}) {close}\n"));
            format!("TEXT_{upper}")
        } else {
            let mut schema = if schema.is_object() { schema.clone() } else { json!({}) };
            for definitions in ["$defs", "definitions"] {
                if let (Some(keywords), Some(defined)) = (schema.as_object_mut(), self.root.get(definitions)) {
                    keywords.insert(definitions.into(), defined.clone());
                }
            }
            self.rules.push_str(&format!("json_{symbol}: %json {}\n", with_options(schema)));
            format!("json_{symbol} {close}")
        };
        self.rules.push_str(&format!("{symbol}: {open} {name} \">\\n\" {value}\n"));
    }

    /// The texts that a string may be.
    fn text(&mut self, name: &str, schema: &Value) -> String {
        let choices = schema["enum"].as_array().cloned().or_else(|| schema.get("const").map(|one| vec![one.clone()]));
        if let Some(choices) = choices {
            return choices.iter().filter_map(Value::as_str).map(lark_string).collect::<Vec<_>>().join(" | ");
        }
        let mut text = "/(?s:.*)/ & ~/(?s:.*<\\/parameter>.*)/".to_owned();
        self.narrow(name, schema, &mut text);
        text
    }

    /// Adds what the schema says of a string.
    fn narrow(&mut self, name: &str, schema: &Value, text: &mut String) {
        if schema.get("minLength").is_some() || schema.get("maxLength").is_some() {
            let least = schema["minLength"].as_u64().unwrap_or(0);
            let most = schema["maxLength"].as_u64().map(|most| most.to_string()).unwrap_or_default();
            text.push_str(&format!(" & /(?s:.{{{least},{most}}})/"));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            match (keyword.as_str(), value) {
                ("type" | "minLength" | "maxLength" | "title" | "description" | "default" | "examples", _) => {}
                ("pattern", Value::String(pattern)) if !has_choice(pattern) => {
                    text.push_str(&format!(" & /{}/", anchored(pattern)));
                }
                ("allOf", Value::Array(schemas)) => schemas.iter().for_each(|schema| self.narrow(name, schema, text)),
                _ => self.left_out.push(format!("{keyword} {value} of {name}")),
            }
        }
    }
}

/// The pattern for a whole text, and for between slashes.
fn anchored(pattern: &str) -> String {
    let any = "(?s:.*)";
    let (before, pattern) = pattern.strip_prefix('^').map_or((any, pattern), |rest| ("", rest));
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let (pattern, after) = if ends { (&pattern[..pattern.len() - 1], "") } else { (pattern, any) };
    let mut escaped = String::new();
    let mut backslash = false;
    for c in pattern.chars() {
        if c == '/' && !backslash {
            escaped.push('\\');
        }
        backslash = c == '\\' && !backslash;
        escaped.push(c);
    }
    format!("{before}(?:{escaped}){after}")
}

/// Whether the pattern has a `|` outside all parentheses, where anchors belong to one side only.
fn has_choice(pattern: &str) -> bool {
    let mut depth = 0;
    let mut backslash = false;
    for c in pattern.chars() {
        match c {
            _ if backslash => {}
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '|' if depth == 0 => return true,
            _ => {}
        }
        backslash = c == '\\' && !backslash;
    }
    false
}
