//! The engine as the rest of the program sees it: a handle to the thread that owns the device.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::EngineError;
use super::cache::{CacheLimits, CacheStats, DiskCache, DiskOptions, PrefixCache};
use super::decode::ToolFormatName;
use super::model::{ComputePath, Config, LoadListener, Model};
use super::schedule::device_memory::{self, WiredMemory};
use super::schedule::memory::{self, MemoryLimit, MemoryUse};
use super::schedule::output_limits::OutputLimits;
use super::schedule::{EventReceiver, Generation, Sequence, SharedState, WarmUpProgress, Worker, WorkerCommand};
use super::segment::SEGMENT_TOKENS;

/// How to load and run a model.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Most prompt tokens computed in one forward pass; `None`: as many as suit the compute path.
    pub prefill_chunk: Option<usize>,
    /// Limits of the prefix cache. Without a limit in bytes it gets half of the memory that is free once the model is loaded.
    pub cache: CacheLimits,
    /// Where the prefix cache is kept beyond this engine; `None`: in memory only.
    pub disk: Option<DiskOptions>,
    /// How to compute; `None`: as MLX's default device does it best.
    pub compute_path: Option<ComputePath>,
    /// The model's tool-call format; `None`: the one that its chat template uses.
    pub tool_format: Option<ToolFormatName>,
    /// Limits of every answer.
    pub output: OutputLimits,
    /// Receives the progress of loading.
    pub on_load: LoadListener,
}

/// A loaded model that answers requests, several at a time.
///
/// Dropping it cancels the active answers and waits for the device's thread, at most one prefill chunk long.
pub struct Engine {
    config: Config,
    output: OutputLimits,
    commands: mpsc::Sender<WorkerCommand>,
    shared: SharedState,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Loads a model folder. Blocks until the weights are in memory and the latest conversation on disk is read.
    pub fn load(dir: &Path, options: EngineOptions) -> Result<Self, EngineError> {
        let (commands, inbox) = mpsc::channel();
        let (loaded, when_loaded) = mpsc::channel();
        let (shared, output) = (SharedState::default(), options.output);
        let thread = std::thread::Builder::new()
            .name("mlx".into())
            .spawn({
                let (dir, shared) = (dir.to_path_buf(), shared.clone());
                move || own_device(dir, options, shared, loaded, inbox)
            })
            .map_err(|e| EngineError::Device(format!("cannot start the engine's thread: {e}")))?;
        let config = when_loaded.recv().map_err(|_| gone())??;
        Ok(Self { config, output, commands, shared, thread: Some(thread) })
    }

    /// The model's architecture and sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The limits of every answer.
    pub fn output_limits(&self) -> OutputLimits {
        self.output
    }

    /// Queues an answer. `max_tokens` is reduced to what the model's context leaves. Dropping the receiver cancels the answer.
    pub fn generate(&self, mut generation: Generation) -> Result<EventReceiver, EngineError> {
        self.check_prompt(&generation.prompt)?;
        if generation.max_tokens == 0 {
            return Err(EngineError::Request("max_tokens: must be at least 1".into()));
        }
        generation.max_tokens = generation.max_tokens.min(self.config.context - generation.prompt.len());
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.send(WorkerCommand::Generate(Box::new(generation), events))?;
        Ok(receiver)
    }

    /// Warms up: computes these tokens, the beginning of prompts to come, when nothing else is to be done. A prompt that comes
    /// in the meantime continues from what is computed. Returns when they are computed.
    ///
    /// # Errors
    /// They are too long, the device failed, or the warm-up was given up for another one or a cleared cache.
    pub async fn warm_up(&self, tokens: Vec<u32>) -> Result<(), EngineError> {
        self.check_prompt(&tokens)?;
        self.ask(|reply| WorkerCommand::Warm(tokens, reply)).await?
    }

    /// Progress of the warm-up at work, if there is one: tokens done, and all.
    pub fn warm_up_progress(&self) -> Option<(usize, usize)> {
        let WarmUpProgress { done, total } = &*self.shared.warm_up;
        let total = total.load(Ordering::Relaxed);
        (total > 0).then(|| (done.load(Ordering::Relaxed), total))
    }

    /// Whether conversations are still being read from disk before anybody asks for them. Once this is `false`,
    /// [`Engine::cache_stats`] counts all that was read.
    pub fn is_reading_ahead(&self) -> bool {
        self.shared.reading_ahead.load(Ordering::Acquire)
    }

    /// Removes everything from the prefix cache but these tokens, which are computed if they are missing.
    pub async fn keep_only(&self, tokens: Vec<u32>) -> Result<(), EngineError> {
        self.check_prompt(&tokens)?;
        self.ask(|reply| WorkerCommand::KeepOnly(tokens, reply)).await?
    }

    /// Empties the prefix cache once the answers queued before have ended.
    pub async fn clear_cache(&self) -> Result<(), EngineError> {
        self.ask(WorkerCommand::Clear).await
    }

    /// The prefix cache's content and counts. Does not wait for the device.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_prompt(&self, prompt: &[u32]) -> Result<(), EngineError> {
        let Config { context, vocab_size, .. } = self.config;
        if prompt.is_empty() {
            return Err(EngineError::Request("the prompt is empty".into()));
        }
        if prompt.len() >= context {
            // Claude Code recognises this wording and compacts the conversation.
            let reason = format!("prompt is too long: {} tokens > {} maximum", prompt.len(), context - 1);
            return Err(EngineError::Request(reason));
        }
        match prompt.iter().find(|token| **token as usize >= vocab_size) {
            Some(token) => Err(EngineError::Device(format!("the tokenizer gives token {token}, the model knows {vocab_size}"))),
            None => Ok(()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> WorkerCommand) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| gone())
    }

    fn send(&self, command: WorkerCommand) -> Result<(), EngineError> {
        self.commands.send(command).map_err(|_| gone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // MLX must not run while the process destroys its static data at exit.
        self.shared.closing.store(true, Ordering::Relaxed);
        let _ = self.commands.send(WorkerCommand::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The body of the device's thread: loads the model, reports that to `loaded`, then works.
fn own_device(
    dir: PathBuf,
    options: EngineOptions,
    shared: SharedState,
    loaded: mpsc::Sender<Result<Config, EngineError>>,
    inbox: mpsc::Receiver<WorkerCommand>,
) {
    let (model, disk) = match load(&dir, &options) {
        Ok(loaded) => loaded,
        Err(error) => return drop(loaded.send(Err(error))),
    };
    let working_set = device_memory::working_set(model.path());
    if let Some(warning) = working_set.and_then(|working_set| device_memory::warning(MemoryUse::now().active, working_set)) {
        tracing::warn!("{warning}");
    }
    let limited = device_memory::limit_pool(model.path());
    let memory = match limited.and_then(|()| Sequence::memory(&model)) {
        Ok(memory) => MemoryLimit::of_free(memory, model.path(), working_set),
        Err(error) => return drop(loaded.send(Err(error.into()))),
    };
    let left = memory::available(working_set);
    let limits = CacheLimits { bytes: options.cache.bytes.or(left.map(|free| free / 2)), ..options.cache };
    let config = model.config().clone();
    let cache = PrefixCache::new(limits, disk, shared.cache.clone());
    let chunk = options.prefill_chunk.unwrap_or_else(|| most_prefilled(model.path())).max(1);
    let mut worker = Worker::new(model, cache, chunk, memory, shared);
    worker.limit_output(options.output);
    worker.recall_latest();
    let _ = loaded.send(Ok(config));
    worker.run(inbox, &WiredMemory::of(working_set));
}

/// Prompt tokens for one forward pass. GPUs gain from larger passes, up to about the size that mlx-lm uses.
fn most_prefilled(path: ComputePath) -> usize {
    match path {
        ComputePath::Cpu => SEGMENT_TOKENS,
        ComputePath::Gpu => 2048,
    }
}

/// Loads the model while another thread opens the prefix cache on disk.
fn load(dir: &Path, options: &EngineOptions) -> Result<(Model, Option<DiskCache>), EngineError> {
    // A cache of 0 entries keeps nothing, on disk neither.
    let disk = options.disk.clone().filter(|_| options.cache.entries > 0);
    std::thread::scope(|scope| {
        // Checked first: opening the cache for a path removes the segments of the other one.
        let path = options.compute_path.map_or_else(ComputePath::of_device, Ok)?.checked()?;
        let disk = disk.map(|disk| scope.spawn(move || DiskCache::open(disk, dir, path)));
        let model = Model::load(dir, path, &options.on_load)?;
        let disk = disk.map(|opening| opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok((model, disk.transpose()?.flatten()))
    })
}

fn gone() -> EngineError {
    EngineError::Device("the engine's thread is gone; restart the server".into())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::engine::decode::Piece;
    use crate::engine::testing::{self, prompt};
    use crate::engine::{EndReason, EngineEvent, Finished};

    /// An engine on the random model, and the model's folder.
    struct TestEngine {
        dir: tempfile::TempDir,
        engine: Engine,
    }

    impl TestEngine {
        fn new(options: EngineOptions) -> Self {
            let dir = tempfile::tempdir().unwrap();
            testing::write_model(dir.path());
            let engine = Engine::load(dir.path(), options).unwrap();
            Self { dir, engine }
        }

        fn generation(&self, prompt: &[u32], max_tokens: usize) -> Generation {
            testing::generation(self.dir.path(), prompt, max_tokens)
        }

        /// A whole answer: cached tokens, text and how it ended.
        async fn answer(&self, prompt: &[u32], max_tokens: usize) -> (usize, String, Finished) {
            let mut events = self.engine.generate(self.generation(prompt, max_tokens)).unwrap();
            let mut seen = VecDeque::new();
            while let Some(event) = events.recv().await {
                seen.push_back(event.unwrap());
            }
            let Some(EngineEvent::Started { prompt_tokens, cached_tokens }) = seen.pop_front() else { panic!("not started") };
            let Some(EngineEvent::Finished(finished)) = seen.pop_back() else { panic!("not finished") };
            assert_eq!(prompt_tokens, prompt.len());
            let text = seen.into_iter().map(|event| match event {
                EngineEvent::Piece(Piece::Text(text)) => text,
                other => panic!("unexpected {other:?}"),
            });
            (cached_tokens, text.collect(), finished)
        }
    }

    #[tokio::test]
    async fn a_repeated_prompt_is_cached_and_gets_the_same_answer() {
        let test = TestEngine::new(EngineOptions { prefill_chunk: Some(100), ..EngineOptions::default() });
        let (cached, cold, finished) = test.answer(&prompt(350), 12).await;
        assert_eq!((cached, &finished.reason, finished.output_tokens), (0, &EndReason::MaxTokens, 12));
        let (cached, again, _) = test.answer(&prompt(350), 12).await;
        assert_eq!((cached, &again), (349, &cold));
        test.engine.clear_cache().await.unwrap();
        assert!(
            matches!(&test.engine.cache_stats(), CacheStats { entries, bytes: 0, hits: 1, misses: 1, .. } if entries.is_empty())
        );
        let (cached, after_clear, _) = test.answer(&prompt(350), 12).await;
        assert_eq!((cached, &after_clear), (0, &cold));
    }

    #[tokio::test]
    async fn keep_only_leaves_one_prefix_that_every_conversation_with_it_hits() {
        let test = TestEngine::new(EngineOptions::default());
        test.answer(&prompt(350), 2).await;
        test.engine.keep_only(prompt(300)).await.unwrap();
        for first in [1, 2, 3] {
            let conversation = [prompt(300), vec![first; 20]].concat();
            assert_eq!(test.answer(&conversation, 2).await.0, 300);
        }
        assert_eq!(test.engine.cache_stats().entries.len(), 3);
    }

    #[tokio::test]
    async fn a_follow_up_finds_its_conversation_and_takes_its_place() {
        let test = TestEngine::new(EngineOptions::default());
        test.answer(&prompt(100), 1).await;
        let (cached, ..) = test.answer(&prompt(140), 1).await;
        assert_eq!((cached, test.engine.cache_stats().entries.len()), (100, 1));
    }

    #[tokio::test]
    async fn impossible_requests_are_refused_at_once() {
        let test = TestEngine::new(EngineOptions::default());
        let refused = |prompt: &[u32], max_tokens| match test.engine.generate(test.generation(prompt, max_tokens)) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        let too_long = prompt(testing::CONTEXT);
        assert_eq!(refused(&too_long, 1), "prompt is too long: 4096 tokens > 4095 maximum");
        assert_eq!(refused(&[], 1), "the prompt is empty");
        assert_eq!(refused(&[1], 0), "max_tokens: must be at least 1");
        assert_eq!(refused(&[4096], 1), "engine: the tokenizer gives token 4096, the model knows 4096");
    }

    #[tokio::test]
    async fn an_answer_ends_where_the_context_does() {
        let test = TestEngine::new(EngineOptions::default());
        let (_, _, finished) = test.answer(&prompt(testing::CONTEXT - 3), 64_000).await;
        assert_eq!((finished.reason, finished.output_tokens), (EndReason::MaxTokens, 3));
    }

    #[tokio::test]
    async fn an_answer_ends_at_the_output_limit_whatever_its_request_allows() {
        let output = OutputLimits { tokens: NonZeroUsize::new(5), repeated: None };
        let test = TestEngine::new(EngineOptions { output, ..EngineOptions::default() });
        let (_, _, finished) = test.answer(&prompt(20), 64_000).await;
        assert_eq!((finished.reason, finished.output_tokens), (EndReason::OutputLimit, 5));
        let (_, _, finished) = test.answer(&prompt(20), 5).await;
        assert_eq!((finished.reason, finished.output_tokens), (EndReason::MaxTokens, 5));
    }

    #[tokio::test]
    async fn an_answer_that_repeats_itself_is_ended() {
        let output = OutputLimits { tokens: None, repeated: NonZeroUsize::new(64) };
        let test = TestEngine::new(EngineOptions { output, ..EngineOptions::default() });
        let (_, text, finished) = test.answer(&prompt(20), 4_000).await;
        let EndReason::Repetition { period } = finished.reason else { panic!("{:?}", finished.reason) };
        assert!((1..=8).contains(&period), "{period}");
        assert!((64..4_000).contains(&finished.output_tokens), "{} tokens: {text}", finished.output_tokens);
    }

    #[test]
    fn a_folder_that_is_no_model_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = Engine::load(dir.path(), EngineOptions::default()).err().expect("there is nothing to load");
        let error = error.to_string().replace(dir.path().to_str().unwrap(), "[model]");
        insta::assert_snapshot!(error, @"[model]/config.json: No such file or directory (os error 2)");
    }
}
