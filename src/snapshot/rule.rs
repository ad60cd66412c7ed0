//! Match rules: which differences between arguments do not count. Pure.
//!
//! Each rule makes one form of many values: paths without `.` and `..`, a list in sorted order, every value that a pattern
//! matches. Values with one form are equal. Rules act in comparisons only; snapshots hold the values as they came.

use std::sync::Arc;

use glob::Pattern;
use jsonschema::Validator;
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::ToolUse;

/// A rule as settings and snapshots write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// The tool whose arguments the rule is for: its name, or a pattern such as `mcp__*`. Without it, the rule is for all tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Which arguments: a JSONPath (RFC 9535) into the call's input, such as `$.file_path` or `$.todos[*].id`.
    pub path: String,
    /// How they are compared.
    #[serde(rename = "as")]
    pub way: WayName,
    /// With regex and glob: the pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// With schema: the JSON Schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// How a rule compares values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WayName {
    /// Without white space at the end of lines and around the whole.
    Trim,
    /// As a shell command, by its words: white space between them and their quotes do not count.
    Words,
    /// As paths, without `.`, `..`, doubled and trailing separators.
    Path,
    /// As a set: the order and number of equal items do not count.
    Set,
    /// All texts in which the regular expression is found are equal.
    Regex,
    /// All texts that fit the file pattern are equal.
    Glob,
    /// All values that the JSON Schema allows are equal.
    Schema,
    /// All values of one JSON type are equal.
    Type,
    /// Not at all.
    Ignore,
}

impl WayName {
    /// The ways that need no pattern and no schema, the strictest first.
    pub const WITHOUT_PATTERN: [Self; 6] = [Self::Trim, Self::Words, Self::Path, Self::Set, Self::Type, Self::Ignore];
}

/// A rule that is ready for use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RuleText", into = "RuleText")]
pub struct Rule {
    text: RuleText,
    tool: Option<Pattern>,
    path: JsonPath,
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Trim,
    Words,
    Path,
    Set,
    Regex(Regex),
    Glob(Pattern),
    Schema(Arc<Validator>),
    Type,
    Ignore,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl From<Rule> for RuleText {
    fn from(rule: Rule) -> Self {
        rule.text
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        // A unit variant is a string in JSON.
        let way = serde_json::to_value(self.text.way).unwrap_or_default();
        let tool = self.text.tool.as_deref().unwrap_or("any tool");
        write!(f, "{tool}, {} as {}", self.text.path, way.as_str().unwrap_or_default())
    }
}

impl TryFrom<RuleText> for Rule {
    type Error = String;

    /// # Errors
    /// The path, the pattern or the schema is invalid or missing, or does not belong to this way of comparing.
    fn try_from(text: RuleText) -> Result<Self, String> {
        let path = JsonPath::parse(&text.path).map_err(|error| format!("{:?} is no JSONPath: {error}", text.path))?;
        let glob = |pattern: &str| Pattern::new(pattern).map_err(|error| format!("{pattern:?} is no file pattern: {error}"));
        let tool = text.tool.as_deref().map(glob).transpose()?;
        let needs_pattern = matches!(text.way, WayName::Regex | WayName::Glob);
        match (&text.pattern, &text.schema) {
            (Some(_), _) if !needs_pattern => return Err("`pattern` belongs to `as = \"regex\"` and `as = \"glob\"`".into()),
            (_, Some(_)) if text.way != WayName::Schema => return Err("`schema` belongs to `as = \"schema\"`".into()),
            (None, _) if needs_pattern => return Err("`as = \"regex\"` and `as = \"glob\"` need a `pattern`".into()),
            (_, None) if text.way == WayName::Schema => return Err("`as = \"schema\"` needs a `schema`".into()),
            _ => {}
        }
        let pattern = text.pattern.as_deref().unwrap_or_default();
        let way = match text.way {
            WayName::Trim => Way::Trim,
            WayName::Words => Way::Words,
            WayName::Path => Way::Path,
            WayName::Set => Way::Set,
            WayName::Regex => {
                Way::Regex(Regex::new(pattern).map_err(|_| format!("{pattern:?} is no regular expression of the crate regex"))?)
            }
            WayName::Glob => Way::Glob(glob(pattern)?),
            WayName::Schema => {
                let schema = text.schema.clone().unwrap_or_default();
                Way::Schema(Arc::new(jsonschema::validator_for(&schema).map_err(|error| format!("`schema`: {error}"))?))
            }
            WayName::Type => Way::Type,
            WayName::Ignore => Way::Ignore,
        };
        Ok(Self { text, tool, path, way })
    }
}

impl Rule {
    /// The rule as it is written.
    pub fn text(&self) -> &RuleText {
        &self.text
    }

    /// Whether the rule is for an argument of this call.
    pub fn selects(&self, call: &ToolUse) -> bool {
        self.is_for(&call.name) && !self.path.query(&call.input).is_empty()
    }

    /// Whether two values of the arguments that it is for are equal under it.
    pub fn takes_for_equal(&self, one: &Value, other: &Value) -> bool {
        self.form(one) == self.form(other)
    }

    /// Puts the values that it is for into their form. What is ignored is removed.
    pub(super) fn normalize(&self, call: &mut ToolUse) {
        if !self.is_for(&call.name) {
            return;
        }
        // The last first: removing an item moves those after it.
        for pointer in self.pointers(&call.input).iter().rev() {
            match call.input.pointer(pointer).map(|value| self.form(value)) {
                Some(Some(form)) => set(&mut call.input, pointer, form),
                Some(None) => remove(&mut call.input, pointer),
                None => {}
            }
        }
    }

    /// Puts accepted values in the place of those that this rule takes for equal, so that only real differences are left.
    pub(super) fn cover(&self, accepted: &ToolUse, found: &mut ToolUse) {
        if !self.is_for(&accepted.name) {
            return;
        }
        for pointer in self.pointers(&accepted.input).into_iter().chain(self.pointers(&found.input)) {
            match (accepted.input.pointer(&pointer), found.input.pointer(&pointer)) {
                (Some(old), Some(new)) if self.form(old) == self.form(new) => set(&mut found.input, &pointer, old.clone()),
                (Some(old), None) if self.form(old).is_none() => set(&mut found.input, &pointer, old.clone()),
                (None, Some(new)) if self.form(new).is_none() => remove(&mut found.input, &pointer),
                _ => {}
            }
        }
    }

    fn is_for(&self, tool: &str) -> bool {
        self.tool.as_ref().is_none_or(|pattern| pattern.matches(tool))
    }

    /// Where the values are, as JSON Pointers (RFC 6901).
    fn pointers(&self, input: &Value) -> Vec<String> {
        self.path.query_located(input).locations().map(|location| location.to_json_pointer()).collect()
    }

    /// The one form of all values that are equal to this one; `None` if it does not count.
    fn form(&self, value: &Value) -> Option<Value> {
        let text = value.as_str();
        let form = match (&self.way, text) {
            (Way::Ignore, _) => return None,
            (Way::Type, _) => json!({"<type>": type_name(value)}),
            (Way::Schema(schema), _) if schema.is_valid(value) => json!({"<schema>": self.text.schema}),
            (Way::Set, _) => value.as_array().map_or_else(|| value.clone(), |items| sorted(items)),
            (Way::Regex(pattern), Some(text)) if pattern.is_match(text) => json!({"<regex>": pattern.as_str()}),
            (Way::Glob(pattern), Some(text)) if pattern.matches(text) => json!({"<glob>": pattern.as_str()}),
            (Way::Trim, Some(text)) => text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().into(),
            (Way::Path, Some(text)) => path_clean::clean(text).to_string_lossy().into(),
            (Way::Words, Some(text)) => shlex::split(text).map_or_else(|| text.into(), |words| json!({"<words>": words})),
            _ => value.clone(),
        };
        Some(form)
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Each item once, in an order of their own.
fn sorted(items: &[Value]) -> Value {
    let text = |value: &Value| {
        let mut value = value.clone();
        value.sort_all_objects();
        value.to_string()
    };
    let mut items: Vec<&Value> = items.iter().collect();
    items.sort_by_cached_key(|item| text(item));
    items.dedup();
    items.into_iter().cloned().collect()
}

/// The pointer of the value that holds this one, and the key in it.
fn parent(pointer: &str) -> Option<(&str, String)> {
    let (parent, key) = pointer.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

/// Sets a value; in an object that lacks the key, too.
fn set(input: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = input.pointer_mut(pointer) {
        *place = value;
    } else if let Some((parent, key)) = parent(pointer)
        && let Some(Value::Object(fields)) = input.pointer_mut(parent)
    {
        fields.insert(key, value);
    }
}

fn remove(input: &mut Value, pointer: &str) {
    let Some((parent, key)) = parent(pointer) else {
        *input = Value::Null;
        return;
    };
    match input.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.shift_remove(&key)),
        Some(Value::Array(items)) => {
            if let Some(at) = key.parse().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: Value) -> Result<Rule, String> {
        Rule::try_from(serde_json::from_value::<RuleText>(text).unwrap())
    }

    fn normalized(text: Value, input: Value) -> Value {
        let mut call = ToolUse { name: "Bash".into(), input };
        rule(text).unwrap().normalize(&mut call);
        call.input
    }

    #[test]
    fn values_that_a_rule_takes_for_equal_have_one_form_and_others_do_not() {
        let table = [
            (json!({"as": "trim"}), json!("ls -l \n"), json!("ls -l"), json!("ls  -l")),
            (json!({"as": "trim"}), json!("a \r\nb"), json!("a\nb"), json!("a\n b")),
            (json!({"as": "words"}), json!("git  commit -m 'a b'"), json!("git commit -m \"a b\""), json!("git commit -m a b")),
            (json!({"as": "path"}), json!("/a/./b/../c/"), json!("/a/c"), json!("/a/C")),
            (json!({"as": "set"}), json!([1, {"a": 1, "b": 2}, 1]), json!([{"b": 2, "a": 1}, 1]), json!([1])),
            (json!({"as": "regex", "pattern": "^/tmp/"}), json!("/tmp/a"), json!("/tmp/b"), json!("/var/tmp/")),
            (json!({"as": "glob", "pattern": "*.txt"}), json!("a.txt"), json!("b.txt"), json!("b.md")),
            (json!({"as": "schema", "schema": {"type": "integer", "minimum": 1}}), json!(1), json!(9), json!(0)),
            (json!({"as": "type"}), json!("a"), json!("b"), json!(1)),
        ];
        for (mut text, one, same, other) in table {
            text["path"] = json!("$.x");
            let form = |value: Value| normalized(text.clone(), json!({ "x": value }));
            assert_eq!(form(one.clone()), form(same), "{text}");
            assert_ne!(form(one), form(other), "{text}");
        }
    }

    #[test]
    fn what_is_ignored_may_be_there_or_not() {
        let text = json!({"tool": "B*", "path": "$.list[?@.id > 1].id", "as": "ignore"});
        let input = json!({"list": [{"id": 1}, {"id": 2, "a": 1}, {"id": 3}]});
        assert_eq!(normalized(text, input), json!({"list": [{"id": 1}, {"a": 1}, {}]}));
        assert_eq!(normalized(json!({"path": "$.list[*]", "as": "ignore"}), json!({"list": [1, 2, 3]})), json!({"list": []}));
        let other_tool = json!({"tool": "Read", "path": "$.a", "as": "ignore"});
        assert_eq!(normalized(other_tool, json!({"a": 1})), json!({"a": 1}));
    }

    #[test]
    fn a_wrong_rule_says_what_is_wrong_with_it() {
        let errors = [
            json!({"path": "x", "as": "trim"}),
            json!({"path": "$", "as": "regex"}),
            json!({"path": "$", "as": "regex", "pattern": "("}),
            json!({"path": "$", "as": "trim", "pattern": "a"}),
            json!({"path": "$", "as": "schema"}),
            json!({"path": "$", "as": "type", "schema": {}}),
            json!({"path": "$", "as": "schema", "schema": {"type": 1}}),
            json!({"tool": "***", "path": "$", "as": "trim"}),
        ];
        insta::assert_snapshot!(errors.map(|text| rule(text).unwrap_err()).join("\n"), @r#"
        "x" is no JSONPath: at position 0, parser error
        `as = "regex"` and `as = "glob"` need a `pattern`
        "(" is no regular expression of the crate regex
        `pattern` belongs to `as = "regex"` and `as = "glob"`
        `as = "schema"` needs a `schema`
        `schema` belongs to `as = "schema"`
        `schema`: 1 is not valid under any of the schemas listed in the 'anyOf' keyword
        "***" is no file pattern: Pattern syntax error near position 2: wildcards are either regular `*` or recursive `**`
        "#);
    }
}
