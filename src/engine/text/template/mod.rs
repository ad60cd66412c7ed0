//! A model's chat template: the request as the prompt's text.

mod environment;

use std::path::Path;

use minijinja::value::Serde;
use minijinja::{Environment, Error, Value, context};
use serde_json::{Value as Json, json};

use self::environment::{NAME, environment};
use super::markup_escaping::Markup;
use super::messages::{self, LateSystem};
use super::tokenizer::token_text;
use super::tools::KnownTools;
use super::{Tokenizer, read_optional, read_optional_json};
use crate::engine::EngineError;
use crate::wire::MessagesRequest;

/// A Hugging Face chat template, rendered as transformers renders it.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// `bos_token` and its like, which templates write into the prompt.
    tokens: Json,
    late_system: LateSystem,
    markup: Markup,
    known_tools: KnownTools,
}

impl ChatTemplate {
    /// Reads `chat_template.jinja`, or else the template in `tokenizer_config.json`. Prompts are for this tokenizer.
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
        let mut template =
            Self { environment, source, tokens, late_system: LateSystem::AsSystem, markup, known_tools: KnownTools::default() };
        if !template.takes_late_system() {
            template.late_system = LateSystem::AsUser;
        }
        Ok(template)
    }

    /// The template's own text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt, up to where the answer starts, for [`Tokenizer::encode`].
    ///
    /// # Errors
    /// The request holds an image, or the template refuses it.
    pub fn render(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        let messages = messages::messages(request, self.late_system)?;
        self.render_messages(messages, request).map_err(refused)
    }

    /// The part of the prompt that all conversations with the same system prompt and tools start with.
    ///
    /// # Errors
    /// The template refuses the request.
    pub fn render_shared_prefix(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        let with = |role: &str, text: &str| {
            let mut messages = messages::system(request);
            messages.push(json!({"role": role, "content": text}));
            self.render_messages(messages, request)
        };
        let mut prefix = with("user", "A").map_err(refused)?;
        prefix.truncate(common_length(&prefix, &with("user", "B").map_err(refused)?));
        // Not every template lets the assistant speak first.
        if let Ok(other) = with("assistant", "A") {
            prefix.truncate(common_length(&prefix, &other));
        }
        Ok(prefix)
    }

    fn render_messages(&self, messages: Vec<Json>, request: &MessagesRequest) -> Result<String, Error> {
        let messages = self.markup.mark(Json::Array(messages));
        let thinking = request.extra.get("thinking").and_then(|thinking| thinking["type"].as_str());
        self.environment.get_template(NAME)?.render(context! {
            messages => Serde(messages),
            tools => self.known_tools.of(&request.tools, &self.markup),
            add_generation_prompt => true,
            enable_thinking => matches!(thinking, Some("enabled" | "adaptive")),
            ..Value::from(Serde(&self.tokens))
        })
    }

    /// Whether a system message in mid-conversation reaches the prompt.
    fn takes_late_system(&self) -> bool {
        let messages = [("user", "a"), ("assistant", "b"), ("user", "c"), ("system", "late system")];
        let messages = messages.map(|(role, content)| json!({"role": role, "content": content}));
        let rendered =
            self.environment.get_template(NAME).and_then(|template| template.render(context! { messages => Serde(messages) }));
        rendered.is_ok_and(|prompt| prompt.contains("late system"))
    }
}

/// The template among those that `tokenizer_config.json` has: the only one, or the one for tools, or the default.
fn configured_template(configured: &Json) -> Option<String> {
    let named = |name: &str| configured.as_array()?.iter().find(|entry| entry["name"] == name)?["template"].as_str();
    configured.as_str().or_else(|| named("tool_use")).or_else(|| named("default")).map(str::to_owned)
}

fn refused(error: Error) -> EngineError {
    EngineError::Request(describe(&error))
}

/// The error with its cause, in one line.
fn describe(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// How many bytes of characters both texts start with.
fn common_length(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests;
