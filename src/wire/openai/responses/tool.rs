//! The tools of a request, and which of them the model must call.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{ByType, by_type, kind_of};

/// A tool the model may call. Those that OpenAI's servers run, and other types, are kept as they came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
pub enum ResponsesTool {
    Function(ClientTool),
    /// A tool whose input is free text.
    Custom(ClientTool),
    /// A group of tools, as of one MCP server.
    Namespace {
        name: String,
        tools: Vec<ResponsesTool>,
        #[serde(flatten)]
        extra: Map<String, Value>,
    },
    /// A tool of another type, with all its fields.
    #[serde(skip)]
    Other(Map<String, Value>),
}

/// The types of [`ResponsesTool`]'s variants.
const TOOL_TYPES: [&str; 3] = ["function", "custom", "namespace"];

impl ResponsesTool {
    /// The tool's `type`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Function(_) => "function",
            Self::Custom(_) => "custom",
            Self::Namespace { .. } => "namespace",
            Self::Other(fields) => kind_of(fields),
        }
    }
}

impl<'de> Deserialize<'de> for ResponsesTool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function of the same name.
        Ok(match by_type(deserializer, &TOOL_TYPES, None, Self::deserialize)? {
            ByType::Known(tool) => tool,
            ByType::Other(fields) => Self::Other(fields),
        })
    }
}

impl Serialize for ResponsesTool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other(fields) => fields.serialize(serializer),
            // The derived function of the same name.
            known => Self::serialize(known, serializer),
        }
    }
}

/// A tool that the client runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientTool {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of a function: JSON Schema of the arguments; missing for a function without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Of a custom tool: `{"type": "text"}`, or a grammar of its input: `{"type": "grammar", "syntax", "definition"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Value>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whether the model must call a tool, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "Input should be a valid string or dictionary")]
pub enum ResponsesToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// `{"type": "function", "name"}`, `{"type": "custom", "name"}`, `{"type": "allowed_tools", "mode", "tools"}`, or the type of
    /// a tool that OpenAI's servers run.
    Choice(Map<String, Value>),
}
