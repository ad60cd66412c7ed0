//! The kinds of fields and of the objects that have them: what the tables of fields are made of.

/// What a field holds, and so what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// Free text, or anything: every word becomes filler, and so do names of fields that no table knows.
    Free,
    /// What somebody says in a message.
    Said,
    /// A word of the protocol itself: a type, a role, a reason. It stays if it is known.
    Enumerated,
    /// The name of a tool or of an output format. It stays if it is shaped like one.
    ToolName,
    /// A model's name. It stays if it is shaped like one.
    Model,
    /// A media type such as `image/png`. It stays if it is shaped like one.
    Media,
    /// An id by which blocks refer to each other. It stays if it is shaped like those of the protocols, else it becomes a hash.
    Id,
    /// What identifies somebody or something: it becomes a hash, the same for the same value.
    Hash,
    /// Numbers, switches and words of the protocol, at any depth: they stay where the name of their field is known.
    Settings,
    /// The arguments of a tool call, as JSON or as its text.
    Arguments,
    /// A value that a schema allows.
    Allowed,
    /// The default among the values that a schema allows. It stays if the request's schemas list it.
    Default,
    /// A regular expression of a schema. It stays if it spells no words.
    Pattern,
    /// An address inside a schema, or that of the schema language. Others are free text.
    Reference,
    /// Fields of such an object. A string here is something said; each item of a list is treated likewise.
    In(ObjectKind),
    /// The same for what a tool gave back: never the user's words.
    Result,
    /// The input of the Responses API: items, or a text, which is what the user says.
    Input,
    /// A word of the protocol, or fields of such an object.
    EnumeratedOr(ObjectKind),
    /// An object whose keys are names, and whose values are such objects.
    ByName(ObjectKind),
}

/// An object of a protocol. Objects whose fields mean the same wherever they stand are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// The body of a request, of any API.
    Request,
    /// A message of a request or a chat completion.
    Message,
    /// An item of the Responses API: a message, a call, what a tool gave back, reasoning.
    Item,
    /// A content block.
    Block,
    /// A tool, the choice of one, or a chat completion's call of one.
    Tool,
    /// A JSON Schema.
    Schema,
    /// An output format.
    Format,
    /// `output_config`.
    OutputConfig,
    /// Where a block's picture or file comes from.
    Source,
    /// A citation.
    Citation,
    /// A server of the MCP connector.
    McpServer,
    /// An answer or an event.
    Answer,
    /// An event of the Responses API.
    ResponsesEvent,
    /// What an event adds.
    Delta,
    /// One of a chat completion's alternatives.
    Choice,
    /// An error.
    Error,
}

/// The fields of an object that are known, with their kinds.
pub(super) type FieldTable = &'static [(&'static str, FieldKind)];

impl ObjectKind {
    /// Every kind.
    pub(super) const ALL: [Self; 16] = [
        Self::Request,
        Self::Message,
        Self::Item,
        Self::Block,
        Self::Tool,
        Self::Schema,
        Self::Format,
        Self::OutputConfig,
        Self::Source,
        Self::Citation,
        Self::McpServer,
        Self::Answer,
        Self::ResponsesEvent,
        Self::Delta,
        Self::Choice,
        Self::Error,
    ];
}
