//! From requests to prompts: all that is text, and needs no device.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::begun_answer::{continued, take_begun_answer};
use super::breakpoints::{BreakpointPosition, CacheBreakpoints, cut_after};
use super::prompt_limit::PromptLimit;
use super::shared_prefixes::SharedPrefixes;
use crate::backend::{WhyOmitted, say_omitted};
use crate::convert;
use crate::engine::decode::{AnswerDecoders, Sampler, Sampling, ThinkingTags, ToolFormatName};
use crate::engine::text::{ChatTemplate, KeptTokens, PromptTokenizer, Tokenizer, unmarked};
use crate::engine::{Config, EngineError, EngineOptions, Generation, GenerationConfig};
use crate::wire::{Content, CountTokensRequest, InputMessage, MessagesRequest, Role};

/// Everything that turns requests into prompts. None of it needs the device.
pub(super) struct TextSide {
    pub tokenizer: Arc<Tokenizer>,
    prompts: PromptTokenizer,
    pub limit: PromptLimit,
    template: ChatTemplate,
    shared_prefixes: SharedPrefixes,
    pub decoders: AnswerDecoders,
    pub tool_format: ToolFormatName,
    pub defaults: Sampling,
}

/// A request, the text of its prompt, and the engine's task.
pub(super) struct Prepared {
    pub request: MessagesRequest,
    pub text: String,
    pub generation: Generation,
    /// The schemas that the answer is held to only in part, each with what was left out.
    pub loosened: Vec<String>,
}

impl TextSide {
    /// Loads tokenizer, chat template and recommended sampling of a model folder.
    ///
    /// # Errors
    /// A file of the model or the cache folder cannot be used.
    pub(super) fn load(dir: &Path, options: &EngineOptions) -> Result<Self, EngineError> {
        let tokenizer = Tokenizer::load(dir)?;
        let template = ChatTemplate::load(dir, &tokenizer)?;
        let format = options.tool_format.or_else(|| ToolFormatName::written_by(&template, &tokenizer));
        if format.is_none() {
            tracing::warn!(
                "the chat template writes no calls in a format that is known: they are written as hermes, unless the tool format is set"
            );
        }
        let format = format.unwrap_or(ToolFormatName::Hermes);
        tracing::info!(calls = format.name(), "chat template: {}", template.traits());
        let kept = options.disk.as_ref().map(|disk| KeptTokens::open(&disk.folder, dir, disk.for_tokens())).transpose()?;
        Ok(Self {
            decoders: AnswerDecoders::new(tokenizer.clone(), format.as_written_by(&template, &tokenizer))?,
            prompts: PromptTokenizer::new(tokenizer.clone(), kept, &template.render(&sample())?),
            tool_format: format,
            limit: PromptLimit::of_context(Config::load(dir)?.context),
            template,
            shared_prefixes: SharedPrefixes::default(),
            defaults: recommended_sampling(dir)?,
            tokenizer,
        })
    }

    /// The model's chat template.
    pub(super) fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Renders and tokenizes a request's prompt.
    pub(super) fn prepare(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<Prepared, EngineError> {
        let mut request = self.asked(request)?;
        let begun = take_begun_answer(&mut request)?;
        let refused = unwanted.child_token();
        let (text, prompt, grammars) = std::thread::scope(|scope| {
            // A prompt that is refused needs no grammars.
            let guard = refused.clone().drop_guard();
            let compiling = scope.spawn(|| self.decoders.prepare(&request, &refused));
            let text = self.prompt_text(&request, begun)?;
            let prompt = self.encode(&text, unwanted)?;
            guard.disarm();
            let grammars = compiling.join().map_err(|_| EngineError::Device("the compiler of grammars failed".into()))??;
            Ok::<_, EngineError>((text, prompt, grammars))
        })?;
        let loosened = grammars.loosened();
        let generation = Generation {
            decoder: self.decoders.start_prepared(&request, grammars, ThinkingTags::opened_by(&text))?,
            sampler: Sampler::new(Sampling::for_request(&request, &self.defaults)?, &prompt),
            prompt,
            max_tokens: request.max_tokens as usize,
        };
        Ok(Prepared { request, text, generation, loosened })
    }

    /// The request's breakpoints as positions in the prompt, in tokens.
    pub(super) fn breakpoints(
        &self,
        request: &MessagesRequest,
        text: &str,
        prompt: &[u32],
    ) -> Result<CacheBreakpoints<usize>, EngineError> {
        CacheBreakpoints::of(request).try_map(|position| self.tokens_before(position, request, text, prompt))
    }

    /// The number of the prompt's tokens before a breakpoint: those whose text the prompt shares with a rendering that ends
    /// there. The tokens that open the answer count as part of the last block.
    fn tokens_before(
        &self,
        position: BreakpointPosition,
        request: &MessagesRequest,
        text: &str,
        prompt: &[u32],
    ) -> Result<usize, EngineError> {
        let before = match position {
            BreakpointPosition::End => return Ok(prompt.len()),
            BreakpointPosition::SharedPrefix => self.shared_prefixes.of(request, &self.template)?,
            BreakpointPosition::AfterBlock { message, block } => {
                self.template.render(&cut_after(request, message, block))?.into()
            }
        };
        let [before, text] = [&before, text].map(unmarked);
        let mut bytes = before.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        let fits = |token: &&u32| {
            let left = bytes.checked_sub(self.tokenizer.bytes(**token).len());
            bytes = left.unwrap_or(0);
            left.is_some()
        };
        Ok(prompt.iter().take_while(fits).count())
    }

    /// The number of the prompt's tokens, also where the prompt is too long, but not by far.
    pub(super) fn count(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<usize, EngineError> {
        let mut request = self.asked(request)?;
        let begun = take_begun_answer(&mut request)?;
        self.decoders.check(&request, unwanted)?;
        let text = self.prompt_text(&request, begun)?;
        match self.limit.is_suspicious(&text) {
            true => self.limit.count(&text, &self.tokenizer, unwanted),
            false => Ok(self.prompts.encode(&text)?.len()),
        }
    }

    /// The prompt up to where the answer goes on.
    fn prompt_text(&self, request: &MessagesRequest, begun: Option<String>) -> Result<String, EngineError> {
        let prompt = self.template.render(request)?;
        Ok(match begun {
            Some(begun) => continued(prompt, &self.decoders.before_text(), &self.template.escaped(begun)),
            None => prompt,
        })
    }

    pub(super) fn shared_prefix(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<Vec<u32>, EngineError> {
        self.encode(&self.shared_prefixes.of(&self.readable(request)?, &self.template)?, unwanted)
    }

    /// The tokens of a prompt that is not too long.
    fn encode(&self, text: &str, unwanted: &CancellationToken) -> Result<Vec<u32>, EngineError> {
        self.limit.check(text, &self.tokenizer, unwanted)?;
        self.prompts.encode(text)
    }

    /// The readable form of a request that somebody makes. Its fields without effect are logged.
    fn asked(&self, request: MessagesRequest) -> Result<MessagesRequest, EngineError> {
        say_omitted(&convert::unread_fields(&request), WhyOmitted::NoEffect);
        if request.effort().is_some() && !self.template.reads_effort() {
            // Claude Code always asks for one, so this is no warning.
            tracing::info!("output_config.effort has no effect: the model's template knows none");
        }
        self.readable(request)
    }

    /// The request with text in place of all that the model cannot be given. What that was is logged.
    fn readable(&self, mut request: MessagesRequest) -> Result<MessagesRequest, EngineError> {
        if let Some(reason) = convert::forced_server_tool(&request) {
            return Err(EngineError::Request(reason));
        }
        say_omitted(&convert::for_text_model(&mut request), WhyOmitted::TextOnly);
        Ok(request)
    }
}

/// The sampling that the model folder recommends.
fn recommended_sampling(dir: &Path) -> Result<Sampling, EngineError> {
    let invalid = |reason| EngineError::ModelFile { path: dir.join(GenerationConfig::FILE), reason };
    Sampling::of_model(&GenerationConfig::load(dir)?).map_err(invalid)
}

/// A conversation of several turns that every chat template accepts.
fn sample() -> MessagesRequest {
    let turn = |role, text: &str| InputMessage::new(role, Content::Text(text.into()));
    let messages = vec![turn(Role::User, "Hi.\nWho is it?"), turn(Role::Assistant, "Me.\n"), turn(Role::User, " And you?")];
    CountTokensRequest {
        model: String::new(),
        messages,
        system: None,
        tools: Vec::new(),
        tool_choice: None,
        extra: serde_json::Map::new(),
    }
    .into()
}
