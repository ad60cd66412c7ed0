//! Calls as models write them into their text.

use serde_json::{Map, Value};

use crate::wire::Tool;

/// What closes a call.
pub(super) const CALL_END: &str = "</tool_call>";
/// The tags around a call in Qwen3-Coder's format.
const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";

/// Looks for the tag that ends a call, each byte once, however many pieces the call comes in.
///
/// A call's arguments may have the tag's text in them: in a string of JSON, or in a parameter of Qwen3-Coder's format.
#[derive(Debug, Default)]
pub(super) struct CallScan {
    scanned: usize,
    in_string: bool,
    after_backslash: bool,
    /// Where the first end tag is, wherever it stands.
    pub(super) first_end: Option<usize>,
}

impl CallScan {
    /// Where the call ends whose text begins with `inside`, if its end has come.
    pub(super) fn end_of_call(&mut self, inside: &str) -> Option<usize> {
        let bytes = inside.as_bytes();
        while let Some(byte) = bytes.get(self.scanned) {
            let rest = &bytes[self.scanned..];
            if rest.starts_with(CALL_END.as_bytes()) {
                let end = self.scanned;
                self.first_end.get_or_insert(end);
                if self.ends(&inside[..end]) {
                    return Some(end);
                }
            } else if CALL_END.as_bytes().starts_with(rest) {
                return None;
            }
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' if self.in_string => self.after_backslash = true,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
            self.scanned += 1;
        }
        None
    }

    /// Whether a tag after this text ends the call.
    fn ends(&self, before: &str) -> bool {
        let text = before.trim_start();
        if text.starts_with('{') {
            !self.in_string
        } else if text.starts_with(FUNCTION) {
            before.trim_end().ends_with(FUNCTION_END)
        } else {
            true
        }
    }
}

/// A call as Hermes and Qwen models write it: `{"name": …, "arguments": {…}}`.
pub(super) fn json_call(inside: &str) -> Option<(String, Map<String, Value>)> {
    let call: Map<String, Value> = crate::wire::from_json(inside.trim().as_bytes()).ok()?;
    let name = call.get("name")?.as_str()?.to_owned();
    let arguments = match call.get("arguments").or(call.get("parameters")) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(Value::String(text)) => crate::wire::from_json(text.as_bytes()).ok()?,
        Some(_) => return None,
    };
    Some((name, arguments))
}

/// A call as Qwen3-Coder writes it: `<function=name><parameter=key>value</parameter></function>`. The format has no types: unless
/// the tool's schema says that an argument is a string, a value that is JSON is read as such.
pub(super) fn tagged_call(inside: &str, tools: &[Tool]) -> Option<(String, Map<String, Value>)> {
    let (name, mut rest) = inside.trim().strip_prefix(FUNCTION)?.split_once('>')?;
    let schema = tools.iter().find(|tool| tool.name == name).map(|tool| &tool.input_schema);
    let mut arguments = Map::new();
    while let Some((key, after)) = rest.trim_start().strip_prefix("<parameter=").and_then(|open| open.split_once('>')) {
        let (value, after) = after.split_once("</parameter>")?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let is_text = schema.is_some_and(|schema| schema["properties"][key]["type"] == "string");
        let typed = (!is_text).then(|| serde_json::from_str(value).ok()).flatten().filter(|typed: &Value| !typed.is_string());
        arguments.insert(key.to_owned(), typed.unwrap_or_else(|| Value::String(value.to_owned())));
        rest = after;
    }
    (rest.trim() == FUNCTION_END).then(|| (name.to_owned(), arguments))
}
