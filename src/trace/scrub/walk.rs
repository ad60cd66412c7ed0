//! Scrubbing JSON by the tables.

use std::borrow::Cow;

use serde_json::{Map, Number, Value, json};

use super::enumerations::{enumerated, is_enumerated};
use super::filler::{filler, filler_beside_folder, hashed, is_hashed, user_turn};
use super::homes::verbatim;
use super::kinds::{FieldKind, ObjectKind};
use super::names::DeclaredNames;
use super::shape::{is_beta, is_id, is_media, is_model, is_name, is_number, is_wordless};
use super::structure::is_field;

/// What replaces every image: a transparent pixel, as base64 of a PNG file.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The language of a schema that names it.
const SCHEMA_LANGUAGES: [&str; 2] = ["https://json-schema.org/", "http://json-schema.org/"];

/// What becomes of what the user wrote and of the arguments of tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Filler, like all other text.
    Filler,
    /// They stay, without home folders and mail addresses, and so does the line that names the working directory. A replay of the
    /// copy then asks for the same calls as the original.
    Kept,
}

/// Who says what stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The person who uses the client.
    User,
    /// The client, the model, a tool.
    Other,
}

/// Scrubs the parts of one trace.
pub(super) struct Walker {
    pub turns: Turns,
    pub names: DeclaredNames,
}

impl Walker {
    /// Scrubs the value of a field of this kind.
    pub(super) fn value(&self, value: &mut Value, kind: FieldKind, speaker: Speaker) {
        match (kind, value) {
            (FieldKind::Arguments, value) => self.arguments(value),
            (FieldKind::Free, value) => self.free(value),
            (FieldKind::Hash, value) => self.free_with(value, &hashed),
            (FieldKind::Settings, value) => self.settings(value),
            (FieldKind::Result, value) => self.value(value, FieldKind::In(ObjectKind::Block), Speaker::Other),
            (FieldKind::Input, Value::String(text)) => *text = self.said(text, Speaker::User),
            (FieldKind::Input, value) => self.value(value, FieldKind::In(ObjectKind::Item), Speaker::Other),
            (kind, Value::Array(items)) => items.iter_mut().for_each(|item| self.value(item, kind, speaker)),
            (kind, Value::String(text)) => *text = self.text(text, kind, speaker),
            (FieldKind::In(object) | FieldKind::EnumeratedOr(object), Value::Object(fields)) => {
                self.fields(fields, object, speaker)
            }
            (FieldKind::ByName(object), Value::Object(fields)) => self.by_name(fields, object),
            (FieldKind::Allowed | FieldKind::Default, Value::Object(fields)) => self.allowed(fields, kind),
            (FieldKind::Allowed | FieldKind::Default, _) | (_, Value::Null | Value::Bool(_)) => {}
            // The protocol has a text here. What stands here instead is not known.
            (_, value) => self.free(value),
        }
    }

    fn fields(&self, fields: &mut Map<String, Value>, object: ObjectKind, speaker: Speaker) {
        rename(fields, |key| self.key(key));
        let block_type = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let speaker = match (object, fields.get("role").and_then(Value::as_str)) {
            (ObjectKind::Message | ObjectKind::Item, Some("user")) => Speaker::User,
            (ObjectKind::Message | ObjectKind::Item, _) => Speaker::Other,
            _ => speaker,
        };
        for (key, value) in fields.iter_mut() {
            if (block_type.as_str(), key.as_str()) == ("image", "source") {
                *value = json!({"type": "base64", "media_type": "image/png", "data": PIXEL});
            } else {
                self.value(value, object.kind(key).unwrap_or(FieldKind::Free), speaker);
            }
        }
    }

    /// Scrubs a text in a field of this kind.
    pub(super) fn text(&self, text: &str, kind: FieldKind, speaker: Speaker) -> String {
        let stays = match kind {
            FieldKind::ToolName | FieldKind::Allowed => is_name(text),
            FieldKind::Default => self.names.has(text),
            FieldKind::Settings => is_enumerated(text) || self.names.has(text) || is_beta(text) || is_number(text),
            FieldKind::Model => is_model(text),
            FieldKind::Media => is_media(text),
            FieldKind::Pattern => is_wordless(text),
            FieldKind::Reference => self.is_reference(text),
            _ => false,
        };
        match kind {
            _ if stays => text.to_owned(),
            FieldKind::Enumerated | FieldKind::EnumeratedOr(_) | FieldKind::Settings => enumerated(text),
            FieldKind::Id if is_id(text) => text.to_owned(),
            FieldKind::Id | FieldKind::Hash => hashed(text),
            FieldKind::Arguments => self.arguments_text(text),
            // A pattern of other words would allow other values.
            FieldKind::Pattern => ".*".to_owned(),
            FieldKind::Said | FieldKind::In(ObjectKind::Block) => self.said(text, speaker),
            FieldKind::Allowed | FieldKind::Default if self.turns == Turns::Kept => verbatim(text),
            _ => self.prose(text),
        }
    }

    fn said(&self, text: &str, speaker: Speaker) -> String {
        match (self.turns, speaker) {
            (Turns::Kept, Speaker::User) => user_turn(text),
            _ => self.prose(text),
        }
    }

    fn prose(&self, text: &str) -> String {
        match self.turns {
            Turns::Kept => filler_beside_folder(text),
            Turns::Filler => filler(text),
        }
    }

    /// Whether a schema refers to a part of itself by names, or to the language that it is written in.
    fn is_reference(&self, text: &str) -> bool {
        let inside = text.strip_prefix('#').is_some_and(|path| path.split('/').all(|name| name.is_empty() || is_name(name)));
        let is_date = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let is_part = |part: &str| part == "schema" || is_date(part.trim_start_matches("draft"));
        let is_language = |rest: &str| rest.split(['/', '#']).all(is_part);
        inside || SCHEMA_LANGUAGES.iter().any(|start| text.strip_prefix(start).is_some_and(is_language))
    }

    /// Scrubs what no table knows: every string, the names of fields, and numbers.
    pub(super) fn free(&self, value: &mut Value) {
        self.free_with(value, &|text| self.prose(text));
    }

    fn free_with(&self, value: &mut Value, scrub_text: &dyn Fn(&str) -> String) {
        match value {
            Value::String(text) => *text = scrub_text(text),
            Value::Number(number) => *number = digits(number),
            Value::Array(items) => items.iter_mut().for_each(|item| self.free_with(item, scrub_text)),
            Value::Object(fields) => {
                rename(fields, |key| self.key(key));
                fields.values_mut().for_each(|value| self.free_with(value, scrub_text));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn settings(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text, FieldKind::Settings, Speaker::Other),
            Value::Array(items) => items.iter_mut().for_each(|item| self.settings(item)),
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    match value {
                        Value::String(id) if is_id_field(key) && is_id(id) => {}
                        value if is_field(key) => self.settings(value),
                        value => self.free(value),
                    }
                }
                rename(fields, |key| self.key(key));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn by_name(&self, fields: &mut Map<String, Value>, object: ObjectKind) {
        rename(fields, |key| if is_name(key) { Cow::Borrowed(key) } else { self.key(key) });
        fields.values_mut().for_each(|value| self.value(value, FieldKind::In(object), Speaker::Other));
    }

    /// An object as a value of a schema, or the names that others depend on.
    fn allowed(&self, fields: &mut Map<String, Value>, kind: FieldKind) {
        rename(fields, |key| if is_name(key) { Cow::Borrowed(key) } else { self.key(key) });
        fields.values_mut().for_each(|value| self.value(value, kind, Speaker::Other));
    }

    fn arguments(&self, value: &mut Value) {
        match (self.turns, value) {
            // The arguments as JSON text.
            (_, Value::String(text)) => *text = self.arguments_text(text),
            (_, value) => self.argument(value),
        }
    }

    /// A value inside of arguments.
    fn argument(&self, value: &mut Value) {
        match self.turns {
            Turns::Kept => every_string(value, verbatim),
            Turns::Filler => self.free_with(value, &|text| if self.names.has(text) { text.to_owned() } else { filler(text) }),
        }
    }

    /// Arguments as JSON text. The text is written anew only if a value changes.
    pub(super) fn arguments_text(&self, json: &str) -> String {
        match serde_json::from_str::<Value>(json) {
            Ok(original) => {
                let mut scrubbed = original.clone();
                self.argument(&mut scrubbed);
                if scrubbed == original { json.to_owned() } else { scrubbed.to_string() }
            }
            // The call was cut off, or this is no call.
            Err(_) if self.turns == Turns::Kept => verbatim(json),
            Err(_) => filler(json),
        }
    }

    /// The name of a field: it stays if a table or the trace's own tools have it.
    fn key<'k>(&self, key: &'k str) -> Cow<'k, str> {
        let is_known = |key: &str| is_field(key) || self.names.has(key);
        if is_known(key) || is_hashed(key) {
            return Cow::Borrowed(key);
        }
        let new = filler(key);
        // Filler must not read as structure.
        Cow::Owned(if is_known(&new) { hashed(key) } else { new })
    }
}

/// Gives fields new names. Two that would get the same are told apart by a hash.
fn rename(fields: &mut Map<String, Value>, name: impl Fn(&str) -> Cow<'_, str>) {
    if fields.keys().all(|key| name(key) == key.as_str()) {
        return;
    }
    let mut renamed = Map::new();
    for (key, value) in std::mem::take(fields) {
        let new = name(&key).into_owned();
        let new = if renamed.contains_key(&new) { hashed(&key) } else { new };
        renamed.insert(new, value);
    }
    *fields = renamed;
}

/// Another number with as many digits, up to those that every number of 64 bits can have.
fn digits(number: &Number) -> Number {
    const MOST: usize = 15;
    let text: String = filler(&number.to_string()).chars().take(MOST).collect();
    // Powers of ten are written with a letter.
    serde_json::from_str(text.trim_end_matches('.')).unwrap_or_else(|_| Number::from(1))
}

fn every_string(value: &mut Value, scrub_text: fn(&str) -> String) {
    match value {
        Value::String(text) => *text = scrub_text(text),
        Value::Array(items) => items.iter_mut().for_each(|item| every_string(item, scrub_text)),
        Value::Object(fields) => {
            rename(fields, |key| Cow::Owned(scrub_text(key)));
            fields.values_mut().for_each(|value| every_string(value, scrub_text));
        }
        _ => {}
    }
}

/// Whether a field of settings holds an id of something in the conversation, such as the call that called a tool.
fn is_id_field(name: &str) -> bool {
    ["id", "tool_id"].contains(&name)
}
