//! The items of a conversation, as a request has them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ByType, by_type, kind_of};
use crate::wire::nullable::null_is_default;
use crate::wire::openai::text_or_parts::{TextOrParts, null_is_no_text};

/// One item of the conversation. Items of other types are kept as they came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
pub enum InputItem {
    /// Also an item without `type`.
    Message {
        role: ItemRole,
        content: ItemContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A call that the model made. Its arguments are JSON text.
    FunctionCall {
        call_id: String,
        name: String,
        arguments: String,
        /// The group of tools that the function belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    FunctionCallOutput {
        call_id: String,
        /// `null`, which a tool without output gives, is read as an empty text.
        #[serde(deserialize_with = "null_is_no_text")]
        output: ItemContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A call of a tool whose input is free text.
    CustomToolCall {
        call_id: String,
        name: String,
        input: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    CustomToolCallOutput {
        call_id: String,
        /// `null`, which a tool without output gives, is read as an empty text.
        #[serde(deserialize_with = "null_is_no_text")]
        output: ItemContent,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// What the model thought: all of it in `content`, or a summary.
    Reasoning {
        #[serde(default, deserialize_with = "null_is_default")]
        summary: Vec<InputPart>,
        #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
        content: Vec<InputPart>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// An item of another type, with all its fields.
    #[serde(skip)]
    Other(Map<String, Value>),
}

/// The types of [`InputItem`]'s variants.
const ITEM_TYPES: [&str; 6] =
    ["message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "reasoning"];

impl InputItem {
    /// The type of an item that is no variant of its own.
    pub fn other_type(&self) -> Option<&str> {
        match self {
            Self::Other(fields) => Some(kind_of(fields)),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for InputItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function of the same name.
        Ok(match by_type(deserializer, &ITEM_TYPES, Some("message"), Self::deserialize)? {
            ByType::Known(item) => item,
            ByType::Other(fields) => Self::Other(fields),
        })
    }
}

impl Serialize for InputItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(fields) => fields.serialize(serializer),
            // The derived function of the same name.
            known => Self::serialize(known, serializer),
        }
    }
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemRole {
    User,
    Assistant,
    System,
    /// OpenAI's newer name for `system`.
    Developer,
}

/// The content of a message or the output of a call.
pub type ItemContent = TextOrParts<InputPart>;

/// A part of an item's content. Parts of other types are kept as they came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
pub enum InputPart {
    InputText(TextPart),
    OutputText(TextPart),
    SummaryText(TextPart),
    ReasoningText(TextPart),
    Text(TextPart),
    Refusal {
        refusal: String,
    },
    InputImage {
        /// A web address, or a `data:` URL that contains the image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image_url: Option<String>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    InputFile {
        /// A `data:` URL that contains the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_url: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A part of another type, with all its fields.
    #[serde(skip)]
    Other(Map<String, Value>),
}

/// The types of [`InputPart`]'s variants.
const PART_TYPES: [&str; 8] =
    ["input_text", "output_text", "summary_text", "reasoning_text", "text", "refusal", "input_image", "input_file"];

impl<'de> Deserialize<'de> for InputPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function of the same name.
        Ok(match by_type(deserializer, &PART_TYPES, None, Self::deserialize)? {
            ByType::Known(part) => part,
            ByType::Other(fields) => Self::Other(fields),
        })
    }
}

impl Serialize for InputPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(fields) => fields.serialize(serializer),
            // The derived function of the same name.
            known => Self::serialize(known, serializer),
        }
    }
}

/// A part that is text, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextPart {
    pub text: String,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::super::ResponsesRequest;
    use serde_json::json;

    #[test]
    fn a_request_survives_a_round_trip_with_what_nobody_reads() {
        let body = json!({
            "model": "m",
            "input": [
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                    {"type": "input_hologram", "depth": 3}]},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}], "encrypted_content": null},
                {"type": "function_call", "call_id": "c", "name": "Look", "arguments": "{}", "id": "fc_1"},
                {"type": "function_call_output", "call_id": "c", "output": "a crab"},
                {"type": "web_search_call", "id": "ws_1", "status": "completed"}],
            "tools": [{"type": "function", "name": "Look", "parameters": {"type": "object"}, "strict": true},
                      {"type": "web_search", "external_web_access": false}],
            "tool_choice": {"type": "function", "name": "Look"},
            "text": {"format": {"type": "text"}, "verbosity": "low"},
            "reasoning": {"effort": "low", "summary": "auto"},
            "stream": true,
            "store": false,
        });
        let request: ResponsesRequest = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&request).unwrap(), body);
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let inputs = [
            json!([{"role": "robot", "content": ""}]),
            json!([{"role": "user", "content": [{"type": "input_text"}]}]),
            json!([{"role": "user", "content": 7}]),
            json!([{"type": "function_call_output", "output": ""}]),
            json!([{"type": 7}]),
            json!(7),
        ];
        let error = |input| serde_json::from_value::<ResponsesRequest>(json!({"input": input})).unwrap_err().to_string();
        insta::assert_snapshot!(inputs.map(error).join("\n"), @"
        unknown variant `robot`, expected one of `user`, `assistant`, `system`, `developer`
        missing field `text`
        invalid type: integer `7`, expected a string or a list of content parts
        missing field `call_id`
        invalid type: number, expected a string
        invalid type: integer `7`, expected a string or a list of items
        ");
    }
}
