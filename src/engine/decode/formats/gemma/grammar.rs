//! The grammar of Gemma's notation for a JSON Schema. A part of the schema that this cannot express exactly is written as JSON,
//! which the reader takes too: so a finished call is valid in any case.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::MARK;
use super::reader::stands_bare;
use crate::engine::decode::call_form::Part;
use crate::engine::decode::formats::declared::{beyond_arguments, declared, object, resolve};
use crate::engine::decode::formats::patterns::anchored;
use crate::engine::decode::grammar::{Vocabulary, lark_string};
use crate::engine::decode::json_schema::with_options;
use crate::engine::decode::number_limits::LARGEST_NUMBER;
use crate::engine::decode::string_formats;

/// Keywords that say nothing about which values are valid, or nothing in the place where they are.
const SILENT: [&str; 10] =
    ["title", "description", "default", "examples", "$comment", "$schema", "$defs", "definitions", "x-guidance", "deprecated"];

/// Members of any name: the names that stand without marks, as words with nothing in them that ends keys or values.
const BARE_KEY: &str = r#"/[^\s:,{}\[\]"<]+( [^\s:,{}\[\]"<]+)*/"#;

/// Keywords that narrow a string.
const STRING_KEYWORDS: [&str; 5] = ["minLength", "maxLength", "pattern", "format", "allOf"];

/// Deeper schemas are written as JSON.
const DEEPEST: usize = 24;

/// The grammar of all members and the end of the call, and the parts of the schema that it does not enforce.
pub(super) fn members_grammar(root: &Value, end: &[Part], vocabulary: &Vocabulary) -> (String, Vec<String>) {
    let mut grammar = NotationGrammar {
        vocabulary,
        root,
        rules: String::new(),
        references: HashMap::new(),
        count: 0,
        depth: 0,
        left_out: beyond_arguments(root),
    };
    let schema = object(root);
    let members: Vec<_> = declared(root);
    let end = vocabulary.inline(end);
    let start = if members.is_empty() && schema["additionalProperties"] != false {
        grammar.any_members(&schema["additionalProperties"], &end)
    } else {
        grammar.members(members, &schema["required"], &end)
    };
    grammar.rules.push_str(&format!("start: {start}\n"));
    (grammar.rules, grammar.left_out)
}

/// Rules for parts of a schema.
struct NotationGrammar<'a> {
    vocabulary: &'a Vocabulary<'a>,
    root: &'a Value,
    rules: String,
    /// The rules of schemas that others refer to.
    references: HashMap<String, String>,
    /// Rules so far, to name them apart.
    count: usize,
    depth: usize,
    left_out: Vec<String>,
}

impl<'a> NotationGrammar<'a> {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    /// A rule of this content; returns its name.
    fn rule(&mut self, content: &str) -> String {
        let name = self.name();
        self.rules.push_str(&format!("{name}: {content}\n"));
        name
    }

    /// A rule for the values of a schema.
    fn value(&mut self, schema: &'a Value) -> String {
        self.depth += 1;
        let expressed = if self.depth < DEEPEST { self.expressed(schema) } else { None };
        self.depth -= 1;
        expressed.unwrap_or_else(|| self.json(schema))
    }

    /// The same where this notation can express the schema exactly.
    fn expressed(&mut self, schema: &'a Value) -> Option<String> {
        let Value::Object(keywords) = schema else { return (*schema == true || schema.is_null()).then(|| self.any()) };
        let known = |known: &[&str]| {
            let told = |key: &String| known.contains(&key.as_str()) || SILENT.contains(&key.as_str());
            keywords.keys().all(told)
        };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            return if known(&["$ref"]) { self.reference(reference, schema) } else { None };
        }
        if let Some(choices) = keywords.get("enum").and_then(Value::as_array) {
            return if known(&["enum", "type"]) { self.choices(choices, keywords) } else { None };
        }
        if let Some(one) = keywords.get("const") {
            return if known(&["const", "type"]) { self.choices(std::slice::from_ref(one), keywords) } else { None };
        }
        if let Some(branches) = keywords.get("anyOf").and_then(Value::as_array) {
            let any = known(&["anyOf"]) && !branches.is_empty();
            return any.then(|| self.either(branches.iter().collect()));
        }
        match keywords.get("type") {
            None if known(&[]) => Some(self.any()),
            Some(Value::String(kind)) => self.of_kind(kind, schema, keywords),
            Some(Value::Array(kinds)) if known(&["type"]) => self.of_kinds(kinds),
            _ => None,
        }
    }

    fn of_kind(&mut self, kind: &str, schema: &'a Value, keywords: &'a Map<String, Value>) -> Option<String> {
        let known = |known: &[&str]| {
            let told = |key: &String| key == "type" || known.contains(&key.as_str()) || SILENT.contains(&key.as_str());
            keywords.keys().all(told)
        };
        match kind {
            "string" if known(&STRING_KEYWORDS) => self.string(keywords),
            "array" if known(&["items", "minItems", "maxItems"]) => self.list(keywords),
            "object" if known(&["properties", "required", "additionalProperties"]) => self.object(keywords),
            "integer" | "number" | "boolean" | "null" => Some(self.json(schema)),
            _ => None,
        }
    }

    /// Values of several types, of which nothing more is said.
    fn of_kinds(&mut self, kinds: &[Value]) -> Option<String> {
        let mut rules = Vec::new();
        for kind in kinds {
            rules.push(match kind.as_str()? {
                "string" => self.text("/(?s:.*)/"),
                "array" => self.list_of_any(),
                "object" => self.object_of_any(),
                kind => self.json(&json!({"type": kind})),
            });
        }
        Some(self.rule(&rules.join(" | ")))
    }

    fn either(&mut self, branches: Vec<&'a Value>) -> String {
        let rules: Vec<String> = branches.into_iter().map(|branch| self.value(branch)).collect();
        self.rule(&rules.join(" | "))
    }

    /// The rule of a schema that is referred to, which may contain the reference itself.
    fn reference(&mut self, reference: &str, schema: &'a Value) -> Option<String> {
        if let Some(name) = self.references.get(reference) {
            return Some(name.clone());
        }
        let target = resolve(schema, self.root);
        if std::ptr::eq(target, schema) {
            return None;
        }
        let name = self.name();
        self.references.insert(reference.to_owned(), name.clone());
        let value = self.value(target);
        self.rules.push_str(&format!("{name}: {value}\n"));
        Some(name)
    }

    /// Choices among single values.
    fn choices(&mut self, choices: &[Value], keywords: &Map<String, Value>) -> Option<String> {
        let fits = |choice: &&Value| keywords.get("type").is_none_or(|kind| has_kind(choice, kind));
        let choices: Vec<&Value> = choices.iter().filter(fits).collect();
        if choices.is_empty() || choices.iter().any(|choice| choice.is_object() || choice.is_array()) {
            return None;
        }
        let written = choices.into_iter().map(|choice| match choice {
            Value::String(text) if text.contains(MARK) => None,
            Value::String(text) => Some(self.text(&lark_string(text))),
            other => Some(lark_string(&other.to_string())),
        });
        let written: Option<Vec<String>> = written.collect();
        Some(self.rule(&written?.join(" | ")))
    }

    fn string(&mut self, keywords: &Map<String, Value>) -> Option<String> {
        let mut limits = Vec::new();
        self.narrow(keywords, &mut limits)?;
        let any = "/(?s:.*)/".to_owned();
        Some(self.text(&if limits.is_empty() { any } else { limits.join(" & ") }))
    }

    /// Adds the expressions that a string of these keywords must match; `None` if there are others.
    fn narrow(&mut self, keywords: &Map<String, Value>, limits: &mut Vec<String>) -> Option<()> {
        if keywords.contains_key("minLength") || keywords.contains_key("maxLength") {
            let least = keywords.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            let most = keywords.get("maxLength").and_then(Value::as_u64).map(|most| most.to_string()).unwrap_or_default();
            limits.push(format!("/(?s:.{{{least},{most}}})/"));
        }
        if let Some(pattern) = keywords.get("pattern") {
            limits.push(format!("/{}/", anchored(pattern.as_str()?)));
        }
        if let Some(format) = keywords.get("format") {
            match string_formats::pattern(format.as_str()?) {
                Some(pattern) => limits.push(format!("/{}/", anchored(&pattern))),
                None => self.left_out.push(format!("format {format}")),
            }
        }
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let known = |key: &String| key == "type" || STRING_KEYWORDS.contains(&key.as_str()) || SILENT.contains(&key.as_str());
            let part =
                part.as_object().filter(|part| part.keys().all(known) && part.get("type").is_none_or(|kind| kind == "string"));
            self.narrow(part?, limits)?;
        }
        Some(())
    }

    /// A rule for a string of this content, an expression for a terminal, between its marks.
    fn text(&mut self, content: &str) -> String {
        let mark = self.vocabulary.inline(&[Part::Markup(MARK.into())]);
        let name = self.name();
        let terminal = name.to_uppercase();
        let written = lark_string(MARK);
        let content = format!("({content}) & ~(/(?s:.*)/ {written} /(?s:.*)/)");
        // A terminal cannot contain a mark that is a token of its own.
        let (content, end) = match self.vocabulary.has_token(MARK) {
            true => (content, mark.as_str()),
            false => (format!("({content}) {mark}"), ""),
        };
        self.rules.push_str(&format!("{terminal}: {content}\n{name}: {mark} {terminal} {end}\n"));
        name
    }

    fn list(&mut self, keywords: &'a Map<String, Value>) -> Option<String> {
        let number = |name: &str| keywords.get(name).and_then(Value::as_u64);
        let (least, most) = (number("minItems").unwrap_or(0), number("maxItems"));
        if most.is_some_and(|most| most < least) || least > 100 || most.is_some_and(|most| most > 1000) {
            return None;
        }
        let item = match keywords.get("items") {
            None => self.any(),
            Some(items) => self.value(items),
        };
        let more = format!(
            "{{{},{}}}",
            least.max(1) - 1,
            most.map(|most| most.max(1) - 1).map(|most| most.to_string()).unwrap_or_default()
        );
        let some = format!("\"[\" {item} (\",\" {item}){more} \"]\"");
        Some(match (least, most) {
            (_, Some(0)) => self.rule("\"[]\""),
            (0, _) => self.rule(&format!("\"[]\" | {some}")),
            _ => self.rule(&some),
        })
    }

    fn object(&mut self, keywords: &'a Map<String, Value>) -> Option<String> {
        let additional = keywords.get("additionalProperties").unwrap_or(&Value::Null);
        let properties: Vec<(&str, &Value)> = match keywords.get("properties").and_then(Value::as_object) {
            Some(properties) => properties.iter().map(|(name, schema)| (name.as_str(), schema)).collect(),
            None => vec![],
        };
        let required = keywords.get("required").unwrap_or(&Value::Null);
        let mut needed = required.as_array().into_iter().flatten().filter_map(Value::as_str);
        if needed.any(|name| !properties.iter().any(|(known, _)| *known == name)) {
            return None;
        }
        let members = match (properties.is_empty(), additional) {
            (true, Value::Bool(false)) => "\"}\"".to_owned(),
            (true, additional) => self.any_members(additional, "\"}\""),
            (false, Value::Bool(false)) => self.members(properties, required, "\"}\""),
            (false, _) => return None,
        };
        Some(self.rule(&format!("\"{{\" {members}")))
    }

    /// Declared members, sorted, and what ends them.
    fn members(&mut self, mut members: Vec<(&str, &'a Value)>, required: &Value, end: &str) -> String {
        members.sort_by_key(|(name, _)| name.to_lowercase());
        let is_required = |name: &str| required.as_array().is_some_and(|required| required.iter().any(|one| one == name));
        // The rules for what follows: where there is no member yet, and where there is.
        let (mut first, mut later) = (self.rule(end), self.rule(end));
        for (name, schema) in members.into_iter().rev() {
            let value = self.value(schema);
            let key = self.key(name);
            let mut next = |comma: &str, skipped: &str| {
                let skip = if is_required(name) { String::new() } else { format!(" | {skipped}") };
                self.rule(&format!("{comma} {key} {value} {later}{skip}"))
            };
            let (with_comma, without) = (next("\",\"", &later), next("", &first));
            (first, later) = (without, with_comma);
        }
        first
    }

    /// Members of any name whose values have this schema, and what ends them.
    fn any_members(&mut self, schema: &'a Value, end: &str) -> String {
        let value = self.value(schema);
        let member = self.any_member(&value);
        self.rule(&format!("({member} (\",\" {member})*)? {end}"))
    }

    /// A rule for a member of any name with this value.
    fn any_member(&mut self, value: &str) -> String {
        let marked = self.text("/(?s:.*)/");
        self.rule(&format!("({BARE_KEY} | {marked}) \":\" {value}"))
    }

    /// A key of this name and its colon, without marks if it can stand so.
    fn key(&self, name: &str) -> String {
        if stands_bare(name) {
            return lark_string(&format!("{name}:"));
        }
        if name.contains(MARK) {
            return lark_string(&format!("{}:", json!(name)));
        }
        let mark = || Part::Markup(MARK.into());
        self.vocabulary.inline(&[mark(), Part::Text(name.into()), mark(), Part::Text(":".into())])
    }

    /// A rule for any value.
    fn any(&mut self) -> String {
        const ANY: &str = "any value";
        if let Some(name) = self.references.get(ANY) {
            return name.clone();
        }
        let name = self.name();
        self.references.insert(ANY.into(), name.clone());
        let number = json!({"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER});
        let single = self.json(&json!({"anyOf": [{"type": ["boolean", "null"]}, number]}));
        let (text, list, object) = (self.text("/(?s:.*)/"), self.list_of_any(), self.object_of_any());
        self.rules.push_str(&format!("{name}: {single} | {text} | {list} | {object}\n"));
        name
    }

    fn list_of_any(&mut self) -> String {
        let any = self.any();
        self.rule(&format!("\"[\" ({any} (\",\" {any})*)? \"]\""))
    }

    fn object_of_any(&mut self) -> String {
        let any = self.any();
        let member = self.any_member(&any);
        self.rule(&format!("\"{{\" ({member} (\",\" {member})*)? \"}}\""))
    }

    /// A rule for the JSON of this schema.
    fn json(&mut self, schema: &Value) -> String {
        let mut schema = if schema.is_object() { schema.clone() } else { json!({}) };
        for definitions in ["$defs", "definitions"] {
            if let (Some(keywords), Some(defined)) = (schema.as_object_mut(), self.root.get(definitions)) {
                keywords.insert(definitions.into(), defined.clone());
            }
        }
        self.rule(&format!("%json {}", with_options(schema)))
    }
}

/// Whether a value is of a schema's `type`.
fn has_kind(value: &Value, kind: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    };
    if let Value::Array(kinds) = kind { kinds.iter().any(is) } else { is(kind) }
}
