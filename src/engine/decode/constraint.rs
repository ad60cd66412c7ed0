//! Which tokens may come next: grammars over a model's vocabulary, compiled once and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

use super::form::{Form, Part};
use super::formats::ToolFormat;
use super::grammar::{self, Fill, Vocabulary};
use super::schema;
use crate::engine::EngineError;
use crate::engine::text::{TokenKind, Tokenizer};
use crate::wire::Tool;

/// Compiled grammars kept per model: many times the tools of one client, at some hundred kilobytes each at most.
const MOST_COMPILED: usize = 512;

/// The tokens that may come next.
pub struct TokenMask(SimpleVob);

impl TokenMask {
    /// Only these tokens.
    pub fn only(vocab_size: usize, tokens: &[u32]) -> Self {
        let mut allowed = SimpleVob::alloc(vocab_size);
        tokens.iter().for_each(|token| allowed.allow_token(*token));
        Self(allowed)
    }

    /// All tokens but these.
    pub fn all_but(vocab_size: usize, tokens: &[u32]) -> Self {
        let mut allowed = SimpleVob::alloc_ones(vocab_size);
        tokens.iter().for_each(|token| allowed.disallow_token(*token));
        Self(allowed)
    }

    /// Whether the token may come next. Ids beyond the tokenizer's vocabulary may not.
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// The ids of the tokens that may come next, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter()
    }
}

/// One grammar being followed, token by token.
#[derive(Clone)]
pub struct Follower(Matcher);

impl Follower {
    /// # Errors
    /// The grammar's automaton grew too large.
    pub fn mask(&mut self) -> Result<TokenMask, EngineError> {
        self.0.compute_mask().map(TokenMask).map_err(|error| EngineError::Device(format!("the tool call grammar: {error}")))
    }

    /// # Errors
    /// The token may not come here.
    pub fn push(&mut self, token: u32) -> Result<(), EngineError> {
        let pushed = self.0.consume_token(token);
        pushed.map_err(|_| EngineError::Device(format!("token {token} was generated where the tool call does not allow it")))
    }

    /// The bytes that have to come next, as far as there is no choice. Added tokens are not among them.
    pub fn forced(&self) -> Vec<u8> {
        // Asking changes what is asked.
        let mut bytes = self.clone().0.compute_ff_bytes();
        bytes.truncate(bytes.iter().position(|byte| *byte == TokTrie::SPECIAL_TOKEN_MARKER).unwrap_or(bytes.len()));
        bytes
    }

    /// Whether the text is whole and nothing can follow.
    pub fn is_done(&self) -> bool {
        self.0.is_stopped() && !self.0.is_error()
    }
}

/// The grammars of tool calls in one format over one vocabulary.
pub struct Grammars {
    factory: ParserFactory,
    tokenizer: Arc<Tokenizer>,
    format: Arc<dyn ToolFormat>,
    compiled: Mutex<HashMap<String, Follower>>,
}

impl Grammars {
    /// # Errors
    /// llguidance refuses the vocabulary.
    pub fn new(tokenizer: Arc<Tokenizer>, format: Arc<dyn ToolFormat>) -> Result<Self, EngineError> {
        let refused = |error| EngineError::Device(format!("the vocabulary cannot be constrained: {error}"));
        let mut factory = ParserFactory::new_simple(&token_environment(&tokenizer)).map_err(refused)?;
        factory.set_stderr_log_level(0);
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory, tokenizer, format, compiled: Mutex::default() })
    }

    /// The tokens that open a call; none where the vocabulary spells the tags out.
    pub fn open_tokens(&self) -> Vec<u32> {
        self.format.tags().iter().filter_map(|tag| self.tokenizer.added_token(&tag.words.concat())).collect()
    }

    /// The tokens that are markup of calls.
    pub fn markup(&self) -> Vec<u32> {
        let forms: Vec<Form> = (0..self.format.tags().len()).map(|tag| self.format.form(tag)).collect();
        let markup = forms.iter().flat_map(Form::parts).filter_map(|part| match part {
            Part::Markup(text) => self.tokenizer.added_token(text),
            _ => None,
        });
        markup.chain(self.open_tokens()).collect()
    }

    /// From the opening tag to the arguments of one of these tools.
    ///
    /// # Errors
    /// The names are too many or too long for a grammar.
    pub fn call(&self, fill: &Fill) -> Result<Follower, EngineError> {
        let form = self.format.form(self.format.forced_tag());
        self.opening("call", &form, fill, || grammar::whole_opening(&form, fill, &self.vocabulary()))
    }

    /// The same after the opening tag of this number.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub fn rest_of_call(&self, tag: usize, fill: &Fill) -> Result<Follower, EngineError> {
        let form = self.format.form(tag);
        self.opening(&format!("rest {tag}"), &form, fill, || grammar::rest_of_opening(&form, fill, &self.vocabulary()))
    }

    /// After a call under this tag: the end of the list, and unless `last`, another call up to its arguments. `None` where
    /// calls stand alone.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub fn after_call(&self, tag: usize, fill: &Fill, last: bool) -> Result<Option<Follower>, EngineError> {
        let form = self.format.form(tag);
        let grammar = grammar::after_call(&form, fill, last, &self.vocabulary());
        let follower = |grammar| self.opening(&format!("after {tag} {last}"), &form, fill, || grammar);
        grammar.map(follower).transpose()
    }

    fn opening(&self, what: &str, form: &Form, fill: &Fill, grammar: impl FnOnce() -> String) -> Result<Follower, EngineError> {
        let ids = if form.parts().any(|part| matches!(part, Part::Id | Part::NextId)) { fill.ids } else { [""; 2] };
        self.kept(format!("{what} {} {}", ids.concat(), fill.names.join(" ")), || {
            let refused = |error| EngineError::Request(format!("the tools' names cannot be made a grammar: {error}"));
            self.compile(TopLevelGrammar::from_lark(grammar())).map_err(refused)
        })
    }

    /// From the arguments of this tool to the end of its call. A part of its schema that cannot be enforced is not, and the
    /// log says so, once.
    ///
    /// # Errors
    /// Not even "any JSON object" compiles.
    pub fn arguments(&self, tag: usize, tool: &Tool) -> Result<Follower, EngineError> {
        let key = format!("arguments {tag} {} {}", tool.name, tool.input_schema);
        self.kept(key, || {
            let compiles = |schema: &Value| self.compile_schema(tag, schema.clone()).is_ok();
            let (schema, mut left_out) = schema::prepare(tool, &compiles);
            match self.compile_schema(tag, schema) {
                Ok((follower, more)) => {
                    left_out.extend(more);
                    if !left_out.is_empty() {
                        tracing::warn!(tool = tool.name, "arguments are not held to: {}", left_out.join("; "));
                    }
                    Ok(follower)
                }
                Err(reason) => {
                    tracing::warn!(tool = tool.name, "arguments can be any JSON object, its schema is beyond us: {reason}");
                    self.any_arguments(tag)
                }
            }
        })
    }

    /// From any JSON object as arguments to the end of the call.
    ///
    /// # Errors
    /// It does not compile.
    pub fn any_arguments(&self, tag: usize) -> Result<Follower, EngineError> {
        let compiled = self.compile_schema(tag, schema::any_object());
        compiled.map(|(follower, _)| follower).map_err(EngineError::Device)
    }

    /// The grammar of such arguments, and what it does not enforce.
    fn compile_schema(&self, tag: usize, schema: Value) -> Result<(Follower, Vec<String>), String> {
        let (grammar, mut left_out) =
            self.format.arguments(&self.format.form(tag), &schema::with_options(schema), &self.vocabulary());
        let mut follower = self.compile(TopLevelGrammar::from_lark(grammar))?;
        left_out.extend(follower.0.grammar_warnings());
        Ok((follower, left_out))
    }

    fn vocabulary(&self) -> Vocabulary<'_> {
        Vocabulary(&self.tokenizer)
    }

    fn compile(&self, grammar: TopLevelGrammar) -> Result<Follower, String> {
        let matcher = Matcher::new(self.factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(error.lines().next().unwrap_or_default().to_owned()),
            None => Ok(Follower(matcher)),
        }
    }

    /// A fresh copy of the grammar kept under this key, compiled now if there is none.
    fn kept(&self, key: String, compile: impl FnOnce() -> Result<Follower, EngineError>) -> Result<Follower, EngineError> {
        if let Some(follower) = self.lock().get(&key) {
            return Ok(follower.clone());
        }
        let follower = compile()?;
        let mut compiled = self.lock();
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(key, follower.clone());
        Ok(follower)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Follower>> {
        // Every change to the map is one call: a panic elsewhere cannot have left it half changed.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The vocabulary as llguidance wants it. Added tokens are marked as special: they never stand for their text inside JSON.
fn token_environment(tokenizer: &Tokenizer) -> TokEnv {
    let words = (0..tokenizer.vocab_size() as u32).map(|token| match (tokenizer.kind(token), tokenizer.bytes(token)) {
        (TokenKind::Text, bytes) => bytes.to_vec(),
        (_, []) => vec![],
        (_, bytes) => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
    });
    let words: Vec<_> = words.collect();
    let info = TokRxInfo::new(words.len() as u32, tokenizer.eos_tokens()[0]);
    Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words).with_eos_tokens(tokenizer.eos_tokens())))
}
