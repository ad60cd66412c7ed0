//! A model's chat template, which renders a request as the text of a prompt.

mod environment;
mod fit;
mod past_calls;
mod reasoning;
mod shape;

use std::path::Path;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde_json::{Value as Json, json};

use self::environment::{FUEL, NAME, environment};
pub(crate) use self::past_calls::{PastCall, PastCalls, calls as past_calls};
use self::reasoning::Reasoning;
pub(super) use self::shape::shaped;
use super::markup_escaping::Markup;
use super::messages::{self, TemplateMessage, Turn};
use super::template_traits::{Descriptions, TemplateTraits};
use super::tokenizer::token_text;
use super::tools::KnownTools;
use super::{Tokenizer, offered_tools, read_optional, read_optional_json};
use crate::engine::{EngineError, deep_stack};
use crate::wire::MessagesRequest;

/// A Hugging Face chat template. Rendering gives the same text as the Python library transformers.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// The texts of `bos_token`, `eos_token` and the like, which templates insert into prompts.
    tokens: Json,
    traits: TemplateTraits,
    markup: Markup,
    known_tools: KnownTools,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or else the template in `tokenizer_config.json`. `tokenizer` tells which
    /// texts are markup and must be escaped in content.
    ///
    /// # Errors
    /// Neither file has a template, or it does not compile.
    pub fn load(dir: &Path, tokenizer: &Tokenizer) -> Result<Self, EngineError> {
        let config = read_optional_json(dir, "tokenizer_config.json")?.unwrap_or_default();
        let (file, source) = match read_optional(dir, "chat_template.jinja")? {
            Some(source) => ("chat_template.jinja", source),
            None => ("tokenizer_config.json", configured_template(&config["chat_template"]).unwrap_or_default()),
        };
        let bad = |reason: String| EngineError::ModelFile { path: dir.join(file), reason };
        if source.is_empty() {
            return Err(bad("no chat template; a model without one cannot be talked to".into()));
        }
        let markup = Markup::of(tokenizer, &source);
        Self::new(source, &config, markup).map_err(|error| bad(describe(&error)))
    }

    fn new(source: String, config: &Json, markup: Markup) -> Result<Self, Error> {
        let environment = environment(&source)?;
        let tokens = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let tokens = tokens.iter().filter_map(|name| Some((*name, token_text(&config[*name])?))).collect::<Vec<_>>();
        let tokens = Json::from_iter(tokens);
        let known_tools = KnownTools::new(Descriptions::default());
        let mut template = Self { environment, source, tokens, traits: TemplateTraits::default(), markup, known_tools };
        template.traits = fit::fit(&|trial, traits| {
            let function = |tool| messages::function(tool, traits.descriptions);
            let tools = (!trial.tools.is_empty()).then(|| Value::from(Serde(trial.tools.iter().map(function).collect::<Json>())));
            template.fill(shaped(trial.messages.clone(), traits), tools, &Reasoning::default()).ok()
        });
        template.known_tools = KnownTools::new(template.traits.descriptions);
        template.environment.set_fuel(Some(FUEL));
        Ok(template)
    }

    /// One of the project's own test templates, each modelled on a kind of template in common use.
    #[cfg(test)]
    pub(crate) fn fixture(name: &str, tokenizer: &Tokenizer) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/templates").join(name).with_extension("jinja");
        let source = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self::from_source(source, tokenizer).unwrap()
    }

    /// A template of this source, with the tokens of our own test templates.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn from_source(source: String, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let markup = Markup::of(tokenizer, &source);
        Self::new(source, &json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>"}), markup)
    }

    /// The names of the test templates.
    #[cfg(test)]
    pub(crate) fn fixtures() -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/templates");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether the prompt depends on how much the model is asked to think.
    pub fn reads_effort(&self) -> bool {
        self.source.contains("reasoning_effort")
    }

    /// The template's source text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the template accepts, as found by trial when it was loaded.
    pub fn traits(&self) -> TemplateTraits {
        self.traits
    }

    /// The request's messages as they are passed to the template, before escaping.
    ///
    /// # Errors
    /// A message holds content blocks that its role cannot have.
    pub fn messages(&self, request: &MessagesRequest) -> Result<Vec<Json>, EngineError> {
        Ok(shaped(messages::messages(request)?, &self.traits))
    }

    /// The request's tools as they are passed to the template, before escaping.
    pub fn tools(&self, request: &MessagesRequest) -> Vec<Json> {
        offered_tools::listed(&request.tools).map(|tool| messages::function(tool, self.traits.descriptions)).collect()
    }

    /// How the template writes calls in an earlier turn; `None` if it refuses them.
    pub fn past_calls(&self) -> Option<PastCalls> {
        let tool = json!({"type": "function", "function": {"name": "find_trees", "description": "Finds trees.",
                          "parameters": {"type": "object", "properties": {"tree": {"type": "string", "description": "Which."}}}}});
        let tools = Value::from(Serde(vec![tool]));
        PastCalls::of(|messages| self.fill(shaped(messages, &self.traits), Some(tools.clone()), &Reasoning::default()).ok())
    }

    /// The prompt up to where the answer starts. Escaped markup still has its marks, which [`Tokenizer::encode`]
    /// understands.
    ///
    /// # Errors
    /// A message holds content blocks that its role cannot have, or the template refuses the conversation.
    pub fn render(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        self.render_messages(messages::messages(request)?, request).map_err(refused)
    }

    /// A text to put behind a prompt, with its markup escaped as in messages.
    pub fn escaped(&self, text: String) -> String {
        self.markup.mark_text(text)
    }

    /// The start that the prompts of all conversations with the same tools and system prompt share. Found by
    /// rendering different first messages and comparing.
    ///
    /// # Errors
    /// The template refuses the request.
    pub fn render_shared_prefix(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        let with = |message: TemplateMessage| {
            let mut messages = messages::system(request);
            messages.push(message);
            self.render_messages(messages, request)
        };
        let mut prefix = with(TemplateMessage::User("A".into())).map_err(refused)?;
        prefix.truncate(common_length(&prefix, &with(TemplateMessage::User("B".into())).map_err(refused)?));
        // Some templates refuse conversations that start with the assistant.
        if let Ok(other) = with(TemplateMessage::Assistant(Turn { text: "A".into(), ..Turn::default() })) {
            prefix.truncate(common_length(&prefix, &other));
        }
        Ok(prefix)
    }

    fn render_messages(&self, messages: Vec<TemplateMessage>, request: &MessagesRequest) -> Result<String, Error> {
        let tools = self.known_tools.of(&request.tools, &self.markup);
        self.fill(shaped(messages, &self.traits), tools, &Reasoning::of(request))
    }

    /// Renders the template with the variables that transformers passes, after escaping markup in the messages.
    fn fill(&self, messages: Vec<Json>, tools: Option<Value>, reasoning: &Reasoning) -> Result<String, Error> {
        let variables = context! {
            messages => Serde(self.markup.mark(Json::Array(messages))),
            tools => tools,
            documents => (),
            add_generation_prompt => true,
            enable_thinking => reasoning.enabled,
            reasoning_effort => reasoning.effort.map_or(Value::UNDEFINED, Value::from),
            ..Value::from(Serde(&self.tokens))
        };
        with_deep_stack(|| self.environment.get_template(NAME)?.render(variables))
    }
}

/// The stack on which templates are rendered, in bytes. A list that a template puts into itself as often as its fuel allows is
/// walked level by level, each in the frames of the one around it, and be it only to free it. Memory is taken only as far as that
/// goes.
const STACK: usize = 256 * FUEL as usize;

fn with_deep_stack(render: impl FnOnce() -> Result<String, Error> + Send) -> Result<String, Error> {
    deep_stack::run("template", STACK, render)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("no thread: {error}")))?
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The template in `tokenizer_config.json`. Of several, the one named `tool_use`, or else `default`.
fn configured_template(configured: &Json) -> Option<String> {
    let named = |name: &str| configured.as_array()?.iter().find(|entry| entry["name"] == name)?["template"].as_str();
    configured.as_str().or_else(|| named("tool_use")).or_else(|| named("default")).map(str::to_owned)
}

fn refused(error: Error) -> EngineError {
    let reason = describe(&error);
    EngineError::Request(match error.kind() {
        // A template that means no harm needs so much only for a conversation that no model can read. Claude Code recognises this
        // wording and compacts the conversation.
        ErrorKind::OutOfFuel => format!("prompt is too long: the chat template does not come to its end: {reason}"),
        _ => reason,
    })
}

/// The error and its cause, on one line.
fn describe(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// The length of the texts' common start, in bytes. Never splits a character.
fn common_length(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
