//! Constrained decoding: compiles grammars for a model's vocabulary with llguidance, and caches them.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use lru::LruCache;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::call_form::{CallForm, Part};
use super::fault::{self, Fault};
use super::follower::Follower;
use super::grammar::{self, Fill, Vocabulary};
use super::json_schema;
use super::schema_cost;
use super::schema_parts::shown;
use super::tool_format::ToolFormat;
use crate::engine::EngineError;
use crate::engine::text::{TokenKind, Tokenizer};
use crate::wire::{OutputFormat, Tool};

/// Most compiled grammars that are kept, those used last. A client's tools need a few dozen; each takes at most some hundred
/// kilobytes.
const MOST_COMPILED: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Most parts of an unusable schema that are tried alone, so that the error can name the one at fault.
const MOST_PARTS_TRIED: usize = 100;

/// The stack of a thread that compiles, in bytes. Only the pages in use take memory.
const COMPILER_STACK: usize = 128 << 20;

/// llguidance's limits, where the usual ones do not suit a server: a request's schema may come from anywhere.
static LIMITS: LazyLock<ParserLimits> = LazyLock::new(|| ParserLimits {
    // An object of 600 optional properties needs more than the usual 2,000.
    max_items_in_row: 20_000,
    // A state takes one to two kilobytes.
    max_lexer_states: 50_000,
    verbose_errors: false,
    ..ParserLimits::default()
});

/// For grammars without a tool call.
const NO_CALL: Fill = Fill { names: &[], ids: [""; 2] };

/// Key for the cache of grammars: everything that varies between calls of this form.
fn filled(form: &CallForm, fill: &Fill) -> String {
    let ids = if form.parts().any(|part| matches!(part, Part::Id | Part::NextId)) { fill.ids } else { [""; 2] };
    format!("{} {}", ids.concat(), fill.names.join(" "))
}

/// The grammars of one model: tool calls in its format, and schemas, over its vocabulary.
pub(super) struct Grammars {
    factory: ParserFactory,
    tokenizer: Arc<Tokenizer>,
    format: Arc<dyn ToolFormat>,
    /// Compiled grammars and refusals, by the digest of a key that names everything they depend on.
    compiled: Mutex<LruCache<[u8; 32], Result<HeldTo, EngineError>>>,
}

/// A grammar, and how completely it enforces its schema, if it has one.
#[derive(Clone)]
pub(super) struct HeldTo {
    follower: Follower,
    /// The parts of the schema that the grammar does not enforce, in words for people.
    not_enforced: Vec<String>,
}

impl HeldTo {
    /// A grammar that enforces all that it stands for.
    fn entirely(follower: Follower) -> Self {
        Self { follower, not_enforced: vec![] }
    }

    /// The grammar alone.
    pub(super) fn into_follower(self) -> Follower {
        self.follower
    }

    /// What was left out of the schema of this name; `None` if nothing was.
    pub(super) fn loosened(&self, name: &str) -> Option<String> {
        (!self.not_enforced.is_empty()).then(|| format!("{name}: {}", self.not_enforced.join(", ")))
    }

    /// Insists on the whole schema.
    ///
    /// # Errors
    /// Names the parts that are not enforced.
    fn in_full(self) -> Result<Self, String> {
        if self.not_enforced.is_empty() { Ok(self) } else { Err(format!("cannot be enforced: {}", self.not_enforced.join("; "))) }
    }
}

impl Grammars {
    /// Prepares the vocabulary, whose answers end with one of these tokens; grammars are compiled when first needed.
    ///
    /// # Errors
    /// llguidance refuses the vocabulary.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, format: Arc<dyn ToolFormat>, ends: &[u32]) -> Result<Self, EngineError> {
        let refused = |error| EngineError::Device(format!("the vocabulary cannot be constrained: {error}"));
        let mut factory = ParserFactory::new_simple(&token_environment(&tokenizer, ends)).map_err(refused)?;
        factory.set_stderr_log_level(0);
        *factory.limits_mut() = LIMITS.clone();
        Ok(Self { factory, tokenizer, format, compiled: Mutex::new(LruCache::new(MOST_COMPILED)) })
    }

    /// The added tokens that open a call. Empty if the vocabulary has none and tags are spelled with ordinary tokens.
    pub(super) fn open_tokens(&self) -> Vec<u32> {
        self.format.tags().iter().filter_map(|tag| self.tokenizer.added_token(&tag.words.concat())).collect()
    }

    /// All added tokens that are markup of calls: they never count as text.
    pub(super) fn markup(&self) -> Vec<u32> {
        let forms: Vec<CallForm> = (0..self.format.tags().len()).map(|tag| self.format.form(tag)).collect();
        let markup = forms.iter().flat_map(CallForm::parts).filter_map(|part| match part {
            Part::Markup(text) => self.tokenizer.added_token(text),
            _ => None,
        });
        markup.chain(self.open_tokens()).collect()
    }

    /// A whole call up to where its arguments begin: opening tag, then the name of one of the tools.
    ///
    /// # Errors
    /// The names are too many or too long for a grammar.
    pub(super) fn call(&self, fill: &Fill) -> Result<Follower, EngineError> {
        let form = self.forced_form();
        self.opening("call", &form, fill, || grammar::whole_opening(&form, fill, &self.vocabulary()))
    }

    /// Like [`Self::call`], for a call whose opening tag has been generated. `tag` is the tag's index in the format.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) fn rest_of_call(&self, tag: usize, fill: &Fill) -> Result<Follower, EngineError> {
        let form = self.format.form(tag);
        self.opening(&format!("rest {tag}"), &form, fill, || grammar::rest_of_opening(&form, fill, &self.vocabulary()))
    }

    /// Grammar for what follows a finished call in a list: the end of the list or, unless this was the `last` call allowed, the
    /// next call up to its arguments. `None` for formats without lists of calls.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) fn after_call(&self, tag: usize, fill: &Fill, last: bool) -> Result<Option<Follower>, EngineError> {
        let form = self.format.form(tag);
        let grammar = grammar::after_call(&form, fill, last, &self.vocabulary());
        let follower = |grammar| self.opening(&format!("after {tag} {last}"), &form, fill, || grammar);
        grammar.map(follower).transpose()
    }

    fn opening(
        &self,
        what: &str,
        form: &CallForm,
        fill: &Fill,
        grammar: impl FnOnce() -> String + Send,
    ) -> Result<Follower, EngineError> {
        let held = self.kept(format!("{what} {}", filled(form, fill)), || {
            let refused = |error| EngineError::Request(format!("the tools' names cannot be made a grammar: {error}"));
            self.compile(TopLevelGrammar::from_lark(grammar())).map(HeldTo::entirely).map_err(refused)
        });
        held.map(HeldTo::into_follower)
    }

    /// A call of this tool from its arguments to its end.
    ///
    /// # Errors
    /// Even the fallback grammar, any JSON object, does not compile.
    pub(super) fn arguments(&self, tag: usize, tool: &Tool) -> Result<Follower, EngineError> {
        self.held_arguments(tag, tool).map(HeldTo::into_follower)
    }

    /// The same with what was left out of the schema because it cannot be enforced. When it is compiled first, that is logged.
    ///
    /// # Errors
    /// As for [`Self::arguments`].
    pub(super) fn held_arguments(&self, tag: usize, tool: &Tool) -> Result<HeldTo, EngineError> {
        let key = format!("arguments {tag} {} {}", tool.name, tool.input_schema);
        self.kept(key, || {
            let held = self.try_arguments(tag, tool).or_else(|reason| {
                Ok::<_, EngineError>(HeldTo {
                    not_enforced: vec![format!("its schema: {reason}")],
                    follower: self.any_arguments(tag)?,
                })
            })?;
            if !held.not_enforced.is_empty() {
                tracing::warn!(tool = tool.name, "arguments are not held to: {}", held.not_enforced.join("; "));
            }
            Ok(held)
        })
    }

    /// Checks that the schema of a `strict` tool can be enforced in full. `field` is its path in the request, for the error.
    ///
    /// # Errors
    /// Names the innermost part of the schema that cannot be enforced.
    pub(super) fn check_strict(&self, tool: &Tool, field: &str) -> Result<(), EngineError> {
        if tool.extra.get("strict") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        let checked = self.kept(format!("strict {field} {}", tool.input_schema), || {
            let in_full = self.try_arguments(0, tool).and_then(HeldTo::in_full);
            let fault = |part: &Value| self.try_output(part, &NO_CALL).and_then(HeldTo::in_full).err();
            in_full.map_err(|reason| refused(field, &tool.input_schema, reason, &fault))
        });
        checked.map(drop)
    }

    fn try_arguments(&self, tag: usize, tool: &Tool) -> Result<HeldTo, String> {
        // Finding out what compiles ends with the schema that is used: it need not be compiled again.
        let latest = RefCell::new(None);
        let compiles = |schema: &Value| {
            let compiled = self.compile_schema(tag, schema.clone());
            let outcome = compiled.as_ref().map(drop).map_err(Clone::clone);
            latest.replace(compiled.ok().map(|held| (schema.clone(), held)));
            outcome
        };
        let (schema, left_out) = json_schema::prepare_arguments(tool, &compiles);
        let HeldTo { follower, not_enforced } = match latest.into_inner() {
            Some((compiled, held)) if compiled == schema => held,
            _ => self.compile_schema(tag, schema)?,
        };
        Ok(HeldTo { follower, not_enforced: [left_out, not_enforced].concat() })
    }

    /// The whole answer to a request with an output format: a JSON value of its schema, or a tool call up to its arguments.
    ///
    /// # Errors
    /// The schema does not compile, or must be enforced in full and cannot be. The error names the innermost part at fault.
    pub(super) fn output(&self, format: &OutputFormat, fill: &Fill) -> Result<HeldTo, EngineError> {
        let OutputFormat { schema, field, .. } = format;
        let attempt = |schema: &Value, fill: &Fill| {
            let held = self.try_output(schema, fill)?;
            if format.in_full() { held.in_full() } else { Ok(held) }
        };
        let key = format!("output {} {field} {} {schema}", format.in_full(), filled(&self.forced_form(), fill));
        self.kept(key, || {
            let field = format!("{field}.schema");
            let mut held =
                attempt(schema, fill).map_err(|reason| refused(&field, schema, reason, &|part| attempt(part, &NO_CALL).err()))?;
            // The first mask builds most of the automaton: if that is too large, refuse now and not in mid-answer.
            let too_large = |reason| EngineError::Request(format!("{field}: too large for a grammar: {reason}"));
            held.follower.0.compute_mask().map_err(too_large)?;
            if !held.not_enforced.is_empty() {
                tracing::warn!("{field}: the answer is not held to: {}", held.not_enforced.join("; "));
            }
            Ok(held)
        })
    }

    fn try_output(&self, schema: &Value, fill: &Fill) -> Result<HeldTo, String> {
        let compiles = |schema: &Value| self.compile_answer(schema, &NO_CALL).map(drop);
        let (schema, left_out) = json_schema::prepare(schema.clone(), &compiles);
        let mut follower = self.compile_answer(&schema, fill)?;
        let not_enforced = [left_out, follower.not_enforced()].concat();
        Ok(HeldTo { follower, not_enforced })
    }

    /// What may follow a call in an answer with an output format: another call up to its arguments, or the end of the answer.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub(super) fn call_or_end(&self, fill: &Fill) -> Result<Follower, EngineError> {
        let form = self.forced_form();
        self.opening("call or end", &form, fill, || grammar::answer(None, &[], &form, fill, &self.vocabulary()))
    }

    fn compile_answer(&self, schema: &Value, fill: &Fill) -> Result<Follower, String> {
        within_bounds(schema)?;
        let schema = json_schema::with_options(schema.clone());
        let before = self.format.before_text();
        let grammar = grammar::answer(Some(&schema), &before, &self.forced_form(), fill, &self.vocabulary());
        self.compile(TopLevelGrammar::from_lark(grammar))
    }

    /// The form in which calls are written wherever the grammar chooses the form.
    fn forced_form(&self) -> CallForm {
        self.format.form(self.format.forced_tag())
    }

    /// A call from its arguments to its end, where the arguments may be any JSON object.
    ///
    /// # Errors
    /// It does not compile.
    pub(super) fn any_arguments(&self, tag: usize) -> Result<Follower, EngineError> {
        let compiled = self.compile_schema(tag, json_schema::any_object());
        compiled.map(HeldTo::into_follower).map_err(EngineError::Device)
    }

    /// Grammar from arguments of this schema to the end of the call.
    fn compile_schema(&self, tag: usize, schema: Value) -> Result<HeldTo, String> {
        within_bounds(&schema)?;
        let schema = json_schema::with_options(schema);
        let (grammar, left_out) = self.format.arguments_grammar(&self.format.form(tag), &schema, &self.vocabulary());
        let mut follower = self.compile(TopLevelGrammar::from_lark(grammar))?;
        let not_enforced = [left_out, follower.not_enforced()].concat();
        Ok(HeldTo { follower, not_enforced })
    }

    fn vocabulary(&self) -> Vocabulary<'_> {
        Vocabulary(&self.tokenizer)
    }

    fn compile(&self, grammar: TopLevelGrammar) -> Result<Follower, String> {
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => {
                let line = error.lines().next().unwrap_or_default();
                Err(line.split_once("failed to compile JSON schema: ").map_or(line, |(_, reason)| reason).to_owned())
            }
            None => Ok(Follower(matcher)),
        }
    }

    /// A fresh copy of the grammar under this key, compiled on first use. Failures are kept too, so that they cost nothing twice.
    fn kept(&self, key: String, compile: impl FnOnce() -> Result<HeldTo, EngineError> + Send) -> Result<HeldTo, EngineError> {
        let key: [u8; 32] = Sha256::digest(key).into();
        if let Some(known) = self.lock().get(&key) {
            return known.clone();
        }
        let new = on_a_deep_stack(compile)?;
        self.lock().put(key, new.clone());
        new
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], Result<HeldTo, EngineError>>> {
        // A poisoned lock is fine: the map changes by single calls, so no panic can leave it half changed.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs this on a thread with a deep stack: llguidance recurses for each rule that leads to another, and a format that writes one
/// rule for each argument has a thousand of them.
///
/// # Errors
/// The thread cannot be started, or it panicked.
fn on_a_deep_stack<T: Send>(compile: impl FnOnce() -> T + Send) -> Result<T, EngineError> {
    let failed = |reason: &str| EngineError::Device(format!("a grammar cannot be compiled: {reason}"));
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("grammar".into()).stack_size(COMPILER_STACK);
        let thread = thread.spawn_scoped(scope, compile).map_err(|error| failed(&error.to_string()))?;
        thread.join().map_err(|_| failed("the compiler failed"))
    })
}

/// Refuses a schema that would take too long to compile.
fn within_bounds(schema: &Value) -> Result<(), String> {
    schema_cost::excess(schema).map_or(Ok(()), |excess| Err(excess.reason().into()))
}

/// The error for an unusable schema. It names the path of the innermost part at fault.
fn refused(field: &str, schema: &Value, reason: String, fault: &dyn Fn(&Value) -> Option<String>) -> EngineError {
    let left = Cell::new(MOST_PARTS_TRIED);
    let fault = |part: &Value| {
        left.set(left.get().checked_sub(1)?);
        fault(part)
    };
    let Fault { path, reason } = fault::innermost(schema, &fault).unwrap_or(Fault { path: vec![], reason });
    EngineError::Request(format!("{field}{}: {reason}", shown(&path)))
}

/// The vocabulary for llguidance. Added tokens are marked as special, so that none is accepted for its text inside JSON.
fn token_environment(tokenizer: &Tokenizer, ends: &[u32]) -> TokEnv {
    let words = (0..tokenizer.vocab_size() as u32).map(|token| match (tokenizer.kind(token), tokenizer.bytes(token)) {
        (TokenKind::Text, bytes) => bytes.to_vec(),
        (_, []) => vec![],
        (_, bytes) => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
    });
    let words: Vec<_> = words.collect();
    let info = TokRxInfo::new(words.len() as u32, ends[0]);
    Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words).with_eos_tokens(ends)))
}
