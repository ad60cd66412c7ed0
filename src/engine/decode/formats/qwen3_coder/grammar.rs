//! The grammar of `<parameter=…>` tags.

use serde_json::{Value, json};

use super::parameters::{PARAMETER, PARAMETER_END, declared, forgotten_end, is_string, object, resolve};
use crate::engine::decode::grammar::lark_string;
use crate::engine::decode::json_schema::with_options;

/// A tool's parameters as Lark rules. Rule `p0` matches the first parameter and everything after it, `p1` the second, and so on.
pub(super) struct ParameterGrammar<'a> {
    root: &'a Value,
    rules: String,
    left_out: Vec<String>,
}

/// A parameter of the schema.
struct DeclaredParameter<'a> {
    name: &'a str,
    schema: &'a Value,
    required: bool,
}

impl ParameterGrammar<'_> {
    /// The grammar of all parameters and the end of the call, and the parts of the schema that it does not enforce.
    pub(super) fn of(root: &Value, end: &str) -> (String, Vec<String>) {
        let mut grammar = ParameterGrammar { root, rules: String::new(), left_out: Vec::new() };
        grammar.keywords();
        let schema = object(root);
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let required = |name: &str| required.iter().any(|one| one == name);
        let declared = declared(root).into_iter();
        let declared: Vec<_> =
            declared.map(|(name, schema)| DeclaredParameter { name, schema, required: required(name) }).collect();
        let any = declared.is_empty() && schema["additionalProperties"] != false;
        grammar.rules.push_str(&format!("start: rest0\nrest{}: {} {end}\n", declared.len(), if any { "any*" } else { "" }));
        if any {
            grammar.any(&schema["additionalProperties"]);
        }
        (0..declared.len()).for_each(|at| grammar.parameter(at, &declared));
        (grammar.rules, grammar.left_out)
    }

    /// Records keywords that constrain the arguments as a whole, which this grammar cannot enforce.
    fn keywords(&mut self) {
        let schema = object(self.root);
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
    }

    /// A rule for parameters of any name, for tools that declare none.
    fn any(&mut self, schema: &Value) {
        let (open, close) = (lark_string(PARAMETER), lark_string(&format!("\n{PARAMETER_END}\n")));
        self.json("any", schema);
        self.rules.push_str(&format!("any: {open} /[A-Za-z_][A-Za-z0-9_-]*/ \">\\n\" json_any {close}\n"));
    }

    /// The rule for the parameter with this index and everything after it. Its closing tag may be missing before a later one.
    fn parameter(&mut self, at: usize, declared: &[DeclaredParameter]) {
        let DeclaredParameter { name, schema, required } = declared[at];
        let after = &declared[at + 1..];
        let skippable = after.iter().take_while(|parameter| !parameter.required).count();
        let next: Vec<usize> = (at + 1..declared.len()).take(skippable + 1).collect();
        let (name, rest) = (lark_string(name), at + 1);
        let close = lark_string(&format!("\n{PARAMETER_END}\n"));
        let forgotten = |next: &usize| lark_string(&format!("{}\n", forgotten_end(declared[*next].name)));
        let skipped = if required { String::new() } else { format!(" | rest{rest}") };
        let mut value;
        let schema = resolve(schema, self.root);
        if is_string(schema) {
            let text = self.text(&name, schema, after);
            self.rules.push_str(&format!("TEXT{at}: ({text}) {close}\n"));
            value = format!("TEXT{at} rest{rest}");
            for next in &next {
                self.rules.push_str(&format!("TEXT{at}_{next}: ({text}) {}\n", forgotten(next)));
                value.push_str(&format!(" | TEXT{at}_{next} value{next}"));
            }
        } else {
            self.json(&at.to_string(), schema);
            value = format!("json_{at} {close} rest{rest}");
            next.iter().for_each(|next| value.push_str(&format!(" | json_{at} {} value{next}", forgotten(next))));
        }
        let open = lark_string(PARAMETER);
        self.rules.push_str(&format!("rest{at}: {open} {name} \">\\n\" value{at}{skipped}\nvalue{at}: {value}\n"));
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
        let ends = after.iter().map(|parameter| forgotten_end(parameter.name)).chain([PARAMETER_END.into()]);
        let ends: Vec<_> = ends.map(|end| lark_string(&end)).collect();
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

/// Turns a JSON Schema pattern, which may match anywhere in a text, into one for the whole text, and escapes its
/// slashes for Lark.
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

/// Whether the pattern has a `|` outside all brackets. An anchor then belongs to one alternative only, which
/// [`anchored`] cannot handle.
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
