//! The in-process MLX engine as a backend.

mod answer_stream;
mod begun_answer;
mod breakpoints;
mod continuation;
mod places;
mod prompt_limit;
mod shared_prefixes;

use std::path::Path;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tokio_util::sync::CancellationToken;

use self::answer_stream::answer_stream;
use self::begun_answer::{continued, take_begun_answer};
use self::breakpoints::{BreakpointPosition, CacheBreakpoints, cut_after};
use self::places::{Places, for_client};
use self::prompt_limit::{PromptLimit, count_in_slices};
use self::shared_prefixes::SharedPrefixes;
use super::omission_log::OmissionLog;
use super::{Backend, BackendError, CacheControl, CacheEntry, CacheReport, DiskReport, EventStream, MemoryReport, WarmUpReport};
use crate::convert;
use crate::engine::decode::{AnswerDecoders, ThinkingTags, ToolFormatName};
use crate::engine::text::{ChatTemplate, KeptTokens, PromptTokenizer, Tokenizer, unmarked};
use crate::engine::{
    CacheStats, CachedPrompt, DiskStats, Engine, EngineError, EngineOptions, Generation, GenerationConfig, MemoryUse, Sampler,
    Sampling,
};
use crate::wire::{Content, CountTokensRequest, ErrorBody, ErrorKind, InputMessage, MessagesRequest, Role};

/// When to try again if memory is short, in seconds: by then other answers may have ended.
const RETRY_AFTER_S: u32 = 5;

/// A loaded model, as a backend.
pub struct MlxBackend {
    model: String,
    engine: Engine,
    text: Arc<TextSide>,
    places: Places,
}

/// Everything that turns requests into prompts. None of it needs the device.
struct TextSide {
    tokenizer: Arc<Tokenizer>,
    prompts: PromptTokenizer,
    limit: PromptLimit,
    template: ChatTemplate,
    shared_prefixes: SharedPrefixes,
    decoders: AnswerDecoders,
    defaults: Sampling,
    omissions: OmissionLog,
    unread: OmissionLog,
}

/// A request, the text of its prompt, and the engine's task.
struct Prepared {
    request: MessagesRequest,
    text: String,
    generation: Generation,
}

impl MlxBackend {
    /// Loads a model folder in Hugging Face's layout. Blocks the thread until the weights are in memory.
    ///
    /// # Errors
    /// A file of the model or the cache folder cannot be used, or the device fails.
    pub fn load(dir: &Path, options: EngineOptions) -> Result<Self, EngineError> {
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
        let kept = options.disk.as_ref().map(|disk| KeptTokens::open(&disk.folder, dir)).transpose()?;
        let mut text = TextSide {
            decoders: AnswerDecoders::new(tokenizer.clone(), format.as_written_by(&template, &tokenizer))?,
            prompts: PromptTokenizer::new(tokenizer.clone(), kept, &template.render(&sample())?),
            // Set below: the context is known once the model is loaded.
            limit: PromptLimit::of_context(0),
            template,
            shared_prefixes: SharedPrefixes::default(),
            defaults: recommended_sampling(dir)?,
            omissions: OmissionLog::default(),
            unread: OmissionLog::default(),
            tokenizer,
        };
        let engine = Engine::load(dir, options)?;
        text.limit = PromptLimit::of_context(engine.config().context);
        // The given path may be `.` or a link; the folder's own name tells which model it is.
        let real = dir.canonicalize().unwrap_or_else(|_| dir.into());
        let in_path = || real.file_name().unwrap_or(real.as_os_str()).to_string_lossy().into_owned();
        let model = crate::hub::name_of(&real).map_or_else(in_path, |name| name.to_string());
        Ok(Self { model, engine, text: Arc::new(text), places: Places::default() })
    }

    /// The engine, for what the [`Backend`] trait does not offer.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs text work on a thread where it does not hold up other requests: a long prompt takes tens of milliseconds. The work is
    /// told when nobody waits for it any more.
    fn on_text_side<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TextSide, &CancellationToken) -> Result<T, EngineError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BackendError>> {
        let text = self.text.clone();
        let unwanted = CancellationToken::new();
        let wanted = unwanted.clone().drop_guard();
        let task = tokio::task::spawn_blocking(move || work(&text, &unwanted));
        async move {
            let done = task.await.map_err(|e| BackendError::new(ErrorKind::Api, format!("engine: {e}")));
            drop(wanted);
            Ok(done??)
        }
        .boxed()
    }
}

impl Backend for MlxBackend {
    fn name(&self) -> String {
        self.model.clone()
    }

    fn model(&self) -> String {
        self.model.clone()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        async move {
            let prepared = self.on_text_side(move |text, unwanted| text.prepare(request, unwanted));
            let Prepared { request, text, generation } = prepared.await?;
            let (model, prompt) = (request.model.clone(), generation.prompt.clone());
            let place = self.places.take().await?;
            let events = for_client(self.engine.generate(generation)?, place);
            // The breakpoints take several renderings of the prompt: they are located while the device computes.
            let breakpoints = self.on_text_side(move |side, _| side.breakpoints(&request, &text, &prompt));
            Ok(answer_stream(model, breakpoints, events))
        }
        .boxed()
    }

    fn continue_text(&self, text: String, settings: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        async move {
            let model = settings.model.clone();
            let generation = self.on_text_side(move |side, unwanted| side.continuation(&text, &settings, unwanted)).await?;
            let place = self.places.take().await?;
            let events = for_client(self.engine.generate(generation)?, place);
            let no_breakpoints = async { Ok(CacheBreakpoints::default()) }.boxed();
            Ok(answer_stream(model, no_breakpoints, events))
        }
        .boxed()
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        self.on_text_side(move |text, unwanted| Ok(text.count(request, unwanted)? as u64))
    }

    fn cache(&self) -> Option<&dyn CacheControl> {
        Some(self)
    }
}

impl CacheControl for MlxBackend {
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        async move { Ok(self.engine.clear_cache().await?) }.boxed()
    }

    fn keep_shared_prefix(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let tokens = self.on_text_side(move |text, unwanted| text.shared_prefix(request, unwanted)).await?;
            Ok(self.engine.keep_only(tokens).await?)
        }
        .boxed()
    }

    fn warm_up(&self, request: MessagesRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let tokens = self.on_text_side(move |text, unwanted| text.shared_prefix(request, unwanted)).await?;
            Ok(self.engine.warm_up(tokens).await?)
        }
        .boxed()
    }

    fn report(&self) -> Option<CacheReport> {
        let warming = self.engine.warm_up_progress().map(|(done, total)| WarmUpReport { done, total });
        // Before the counts: once reading ahead has ended, these are complete.
        let reading_ahead = self.engine.is_reading_ahead();
        Some(CacheReport { warming, reading_ahead, ..report(self.engine.cache_stats(), MemoryUse::now()) })
    }
}

/// The sampling that the model folder recommends.
fn recommended_sampling(dir: &Path) -> Result<Sampling, EngineError> {
    let invalid = |reason| EngineError::ModelFile { path: dir.join(GenerationConfig::FILE), reason };
    Sampling::of_model(&GenerationConfig::load(dir)?).map_err(invalid)
}

/// A conversation of several turns that every chat template accepts.
fn sample() -> MessagesRequest {
    let turn = |role, text: &str| InputMessage { role, content: Content::Text(text.into()) };
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

/// The cache's part of the report: no background work.
fn report(stats: CacheStats, memory: MemoryUse) -> CacheReport {
    let mb = |bytes: usize| bytes as f64 / 1e6;
    let entry = |entry: &CachedPrompt| CacheEntry { tokens: entry.tokens, mb: mb(entry.bytes), own_mb: mb(entry.own_bytes) };
    CacheReport {
        max_entries: stats.limits.entries,
        max_bytes: stats.limits.bytes,
        bytes: stats.bytes,
        entries: stats.entries.iter().map(entry).collect(),
        hits: stats.hits,
        misses: stats.misses,
        hit_rate: stats.hit_rate(),
        token_hit_rate: stats.token_hit_rate(),
        prompt_tokens: stats.prompt_tokens,
        saved_tokens: stats.saved_tokens,
        saved_seconds: stats.saved_time().as_secs_f64(),
        computed_tokens: stats.computed_tokens,
        evictions: stats.evictions,
        disk: stats.disk.map(disk_report),
        warming: None,
        reading_ahead: false,
        memory: MemoryReport {
            active_bytes: memory.active,
            cache_bytes: memory.buffered,
            peak_bytes: memory.peak,
            rss_bytes: memory.resident,
        },
    }
}

fn disk_report(stats: DiskStats) -> DiskReport {
    let DiskStats { max_bytes, entries, bytes, hits, tokens, dropped } = stats;
    DiskReport { max_bytes, bytes, entries, hits, tokens, dropped }
}

impl TextSide {
    /// Renders and tokenizes a request's prompt.
    fn prepare(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<Prepared, EngineError> {
        let mut request = self.readable(request)?;
        let begun = take_begun_answer(&mut request)?;
        let (text, prompt) = std::thread::scope(|scope| {
            scope.spawn(|| self.decoders.compile(&request));
            let text = self.prompt_text(&request, begun)?;
            let prompt = self.encode(&text, unwanted)?;
            Ok::<_, EngineError>((text, prompt))
        })?;
        let generation = Generation {
            decoder: self.decoders.start(&request, ThinkingTags::opened_by(&text))?,
            sampler: Sampler::new(Sampling::for_request(&request, &self.defaults)?, &prompt),
            prompt,
            max_tokens: request.max_tokens as usize,
        };
        Ok(Prepared { request, text, generation })
    }

    /// The request's breakpoints as positions in the prompt, in tokens.
    fn breakpoints(&self, request: &MessagesRequest, text: &str, prompt: &[u32]) -> Result<CacheBreakpoints<usize>, EngineError> {
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

    /// The number of the prompt's tokens, whether the prompt is too long or not.
    fn count(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<usize, EngineError> {
        let mut request = self.readable(request)?;
        let begun = take_begun_answer(&mut request)?;
        let text = self.prompt_text(&request, begun)?;
        match self.limit.is_suspicious(&text) {
            true => count_in_slices(&text, &self.tokenizer, unwanted),
            false => Ok(self.prompts.encode(&text)?.len()),
        }
    }

    /// The prompt up to where the answer goes on.
    fn prompt_text(&self, request: &MessagesRequest, begun: Option<String>) -> Result<String, EngineError> {
        let prompt = self.template.render(request)?;
        Ok(match begun {
            Some(begun) => continued(prompt, &self.template.escaped(begun)),
            None => prompt,
        })
    }

    fn shared_prefix(&self, request: MessagesRequest, unwanted: &CancellationToken) -> Result<Vec<u32>, EngineError> {
        self.encode(&self.shared_prefixes.of(&self.readable(request)?, &self.template)?, unwanted)
    }

    /// The tokens of a prompt that is not too long.
    fn encode(&self, text: &str, unwanted: &CancellationToken) -> Result<Vec<u32>, EngineError> {
        self.limit.check(text, &self.tokenizer, unwanted)?;
        self.prompts.encode(text)
    }

    /// The request with text in place of all that the model cannot be given. What that was is logged.
    fn readable(&self, mut request: MessagesRequest) -> Result<MessagesRequest, EngineError> {
        if let Some(reason) = convert::forced_server_tool(&request) {
            return Err(EngineError::Request(reason));
        }
        if let Some(fields) = self.unread.new_names(&convert::unread_fields(&request)) {
            tracing::info!(fields, "left out: they have no effect on this model's answers");
        }
        let omitted = convert::for_text_model(&mut request);
        if let Some(kinds) = self.omissions.new_names(&omitted) {
            tracing::info!(
                kinds,
                "this model is given text only: other content is described to it, Anthropic's server tools are left out"
            );
        }
        Ok(request)
    }
}

impl From<EngineError> for BackendError {
    fn from(error: EngineError) -> Self {
        let kind = match &error {
            EngineError::Request(_) => ErrorKind::InvalidRequest,
            EngineError::Overloaded(_) => ErrorKind::Overloaded,
            EngineError::ModelFile { .. }
            | EngineError::CacheFolder { .. }
            | EngineError::WarmUpStopped
            | EngineError::Device(_) => ErrorKind::Api,
        };
        let retry_after = (kind == ErrorKind::Overloaded).then(|| RETRY_AFTER_S.to_string());
        Self::Answered { status: kind.status(), body: ErrorBody::new(kind, error.to_string()), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{Assembler, ContentBlock, Message, StopReason, ToolChoice};

    /// A backend with the committed model.
    fn backend() -> MlxBackend {
        MlxBackend::load(&crate::engine::text::tiny_model(), EngineOptions::default()).unwrap()
    }

    /// A request that forces a tool call; `turn` is the text of its last message.
    fn tool_request(turn: &str) -> MessagesRequest {
        let schema = json!({"type": "object", "properties": {"path": {"type": "string", "maxLength": 20}},
                            "required": ["path"], "additionalProperties": false});
        let system = "You read files for the user. ".repeat(40);
        serde_json::from_value(json!({
            "model": "claude-x",
            "system": system, "max_tokens": 40, "temperature": 0,
            "tools": [{"name": "Read", "description": "Reads a file.", "input_schema": schema}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "messages": [{"role": "user", "content": turn}],
        }))
        .unwrap()
    }

    async fn ask(backend: &MlxBackend, request: MessagesRequest) -> Message {
        let mut assembler = Assembler::default();
        let mut events = backend.messages(request).await.unwrap();
        while let Some(event) = events.next().await {
            assembler.push(&event.unwrap()).unwrap();
        }
        assembler.finish().unwrap()
    }

    fn calls(message: &Message) -> Vec<(&str, &Value)> {
        let blocks = message.content.iter().map(|block| match block {
            ContentBlock::ToolUse { name, input, .. } => Some((name.as_str(), input)),
            _ => None,
        });
        blocks.flatten().collect()
    }

    #[tokio::test]
    async fn cold_warm_and_cached_differ_in_the_cache_and_not_in_the_answer() {
        let backend = backend();
        let ask = |turn| ask(&backend, tool_request(turn));
        let total = backend.count_tokens(tool_request("Read a.txt")).await.unwrap();

        let cold = ask("Read a.txt").await;
        let cached = ask("Read a.txt").await;
        let cache = backend.cache().unwrap();
        cache.clear().await.unwrap();
        cache.keep_shared_prefix(tool_request("something else")).await.unwrap();
        let warm = ask("Read a.txt").await;

        let read = |message: &Message| message.usage.cache_read_input_tokens.unwrap();
        assert!([&cold, &cached, &warm].iter().all(|message| message.usage.prompt_tokens() == total));
        assert_eq!((read(&cold), read(&cached)), (0, total - 1));
        assert!(read(&warm) > total / 2 && read(&warm) < total - 1, "{} of {total} were warm", read(&warm));

        let [(name, input)] = calls(&cold)[..] else { panic!("{cold:?}") };
        assert!(name == "Read" && input["path"].is_string(), "{cold:?}");
        assert_eq!((calls(&cold), &cold.stop_reason), (calls(&cached), &cached.stop_reason));
        assert_eq!((calls(&cold), &cold.stop_reason), (calls(&warm), &warm.stop_reason));
    }

    #[tokio::test]
    async fn tokens_count_as_created_up_to_the_breakpoint() {
        let backend = backend();
        let control = json!({"type": "ephemeral", "ttl": "1h"});
        let request = |late: bool, with_breakpoint: bool| -> MessagesRequest {
            let mut request = json!({
                "model": "claude-x", "max_tokens": 1,
                "system": [{"type": "text", "text": "You read files for the user. ".repeat(9)}],
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Read a.txt, please."}]}],
            });
            if with_breakpoint {
                request["messages"][0]["content"][0]["cache_control"] = control.clone();
            }
            if late {
                let last = json!({"role": "user", "content": "Then read b.txt, and c.txt after that."});
                request["messages"].as_array_mut().unwrap().push(last);
            }
            serde_json::from_value(request).unwrap()
        };
        let count = async |late| backend.count_tokens(request(late, false)).await.unwrap();
        let (short, long) = (count(false).await, count(true).await);
        let usage = ask(&backend, request(true, true)).await.usage;
        let created = usage.cache_creation_input_tokens.unwrap();
        assert_eq!((usage.prompt_tokens(), &usage.extra["cache_creation"]["ephemeral_1h_input_tokens"]), (long, &json!(created)));
        // All of the shorter prompt except the template's repetition of the task and the tokens that open the answer.
        assert!(created <= short && created + 40 >= short && usage.input_tokens > 5, "{usage:?}");
        let usage = ask(&backend, request(false, false)).await.usage;
        assert_eq!((usage.cache_creation_input_tokens, usage.prompt_tokens()), (Some(0), short));
    }

    #[tokio::test]
    async fn a_call_that_max_tokens_cuts_stays_open() {
        let backend = backend();
        let answer = ask(&backend, tool_request("Read a.txt")).await;
        assert_eq!(answer.stop_reason, Some(StopReason::ToolUse));
        let whole = calls(&answer)[0].1.to_string().replace(':', ": ").replace(',', ", ");
        for max_tokens in 1..answer.usage.output_tokens as u32 {
            let message = ask(&backend, MessagesRequest { max_tokens, ..tool_request("Read a.txt") }).await;
            assert_eq!(message.stop_reason, Some(StopReason::MaxTokens), "{message:?}");
            assert_eq!(message.usage.output_tokens, u64::from(max_tokens));
            if let Some((_, open)) = calls(&message).first()
                && let Some(open) = open.as_str()
            {
                assert!(whole.starts_with(open) && open != whole, "{open} is not how {whole} begins");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_goes_on_from_its_beginning() {
        let backend = backend();
        let request = |begun: &str| -> MessagesRequest {
            let mut messages = vec![json!({"role": "user", "content": "Say hello."})];
            if !begun.is_empty() {
                messages.push(json!({"role": "assistant", "content": begun}));
            }
            let body = json!({"model": "claude-x", "max_tokens": 24, "temperature": 0, "messages": messages});
            serde_json::from_value(body).unwrap()
        };
        let text = |message: Message| match &message.content[..] {
            [ContentBlock::Text { text, .. }] => text.clone(),
            other => panic!("{other:?}"),
        };
        let whole = text(ask(&backend, request("")).await);
        let (begun, rest) = whole.split_at(whole.rfind(' ').unwrap());
        let answer = ask(&backend, request(begun)).await;
        assert_eq!(backend.count_tokens(request(begun)).await.unwrap(), answer.usage.prompt_tokens());
        assert!(text(answer).starts_with(rest), "{whole:?}");
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_answered_is_an_invalid_request() {
        let mut request = tool_request("hi");
        request.tool_choice = Some(ToolChoice::Tool { name: "Write".into(), disable_parallel_tool_use: false });
        match backend().messages(request).await {
            Err(BackendError::Answered { status, .. }) => assert_eq!(status, 400),
            _ => panic!("accepted"),
        }
    }
}
