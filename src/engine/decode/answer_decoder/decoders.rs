//! What all answers of a model share, and the start of an answer.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::grammars::{self, AnswerGrammars};
use super::rules::Rules;
use super::{AnswerDecoder, Stage};
use crate::engine::EngineError;
use crate::engine::decode::budget::Budget;
use crate::engine::decode::call_form::{Part, Tag};
use crate::engine::decode::constraint::{Grammars, Opening};
use crate::engine::decode::limits::Limits;
use crate::engine::decode::logprob_trail::LogprobTrail;
use crate::engine::decode::parser::Parser;
use crate::engine::decode::separator::Separator;
use crate::engine::decode::text_flow::TextFlow;
use crate::engine::decode::thinking::{THINKING_TAGS, Thinking, ThinkingTags};
use crate::engine::decode::tool_format::ToolFormat;
use crate::engine::text::{Detokenizer, Tokenizer, call_ids};
use crate::wire::MessagesRequest;

/// Creates the decoders for a model's answers. They share the tool format and all compiled grammars.
pub struct AnswerDecoders {
    parts: Arc<SharedParts>,
    /// Most kilobytes of grammars that are compiled for one request.
    kilobytes: usize,
}

/// The data that all answers of a model share.
pub(super) struct SharedParts {
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) format: Arc<dyn ToolFormat>,
    pub(super) grammars: Arc<Grammars>,
    /// The tokens that end an answer: those that the model's files name, and those of the format. At least one.
    pub(super) ends: Vec<u32>,
    /// Indexed by tag, then by how many of the tag's bytes the text ends with: the tokens that would complete the tag and
    /// continue past it. They are forbidden, since the grammar must decide what follows the tag.
    pub(super) overshooting: Vec<Vec<Vec<u32>>>,
    /// The same for the closing tags of thoughts: the grammar of an output format must see the answer's first byte.
    pub(super) overshooting_close: Vec<Vec<Vec<u32>>>,
}

impl AnswerDecoders {
    /// Prepares the vocabulary, which takes a pass over all tokens per byte of each tag.
    ///
    /// # Errors
    /// llguidance refuses the vocabulary.
    pub fn new(tokenizer: Arc<Tokenizer>, format: Arc<dyn ToolFormat>) -> Result<Self, EngineError> {
        Self::with_limits(tokenizer, format, Limits::default())
    }

    /// The same with other limits.
    pub(super) fn with_limits(
        tokenizer: Arc<Tokenizer>,
        format: Arc<dyn ToolFormat>,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let ends = ends(&tokenizer, &*format);
        let grammars = Arc::new(Grammars::new(tokenizer.clone(), format.clone(), &ends, &limits)?);
        let of_tag = |tag: &Tag| (0..tag.len()).map(|there| overshooting(&tokenizer, tag, there)).collect();
        let closing = |tags: &'static ThinkingTags| Tag { words: std::slice::from_ref(&tags.close), only_after: None };
        let overshooting_close = THINKING_TAGS.iter().map(closing).map(|tag| of_tag(&tag)).collect();
        let overshooting = format.tags().iter().map(of_tag).collect();
        let parts = SharedParts { tokenizer, format, grammars, ends, overshooting, overshooting_close };
        Ok(Self { parts: Arc::new(parts), kilobytes: limits.kilobytes })
    }

    /// Makes the grammars that the answer to this request may need, so that the device's thread finds them ready. Ends early once
    /// the answer is `unwanted`.
    ///
    /// # Errors
    /// `tool_choice` names a tool that cannot be called; the output format's schema is unusable; the schema of a strict tool or
    /// format cannot be enforced in full; or nobody wants the answer any more.
    pub fn prepare(&self, request: &MessagesRequest, unwanted: &CancellationToken) -> Result<AnswerGrammars, EngineError> {
        let budget = Budget::new(unwanted.clone(), self.kilobytes);
        AnswerGrammars::prepare(self.parts.grammars.clone(), request, &Rules::of(request)?, &budget)
    }

    /// What the model's format has before the text of an answer.
    pub fn before_text(&self) -> String {
        let parts = self.parts.format.before_text();
        let texts = parts.iter().filter_map(|part| match part {
            Part::Text(text) | Part::Markup(text) => Some(text.as_str()),
            Part::Name { .. } | Part::Id | Part::NextId => None,
        });
        texts.collect()
    }

    /// The tokens that end an answer.
    pub fn ends(&self) -> &[u32] {
        &self.parts.ends
    }

    /// Checks whether there are grammars for the answer to this request, without those that may be looser.
    ///
    /// # Errors
    /// As for [`Self::prepare`].
    pub fn check(&self, request: &MessagesRequest, unwanted: &CancellationToken) -> Result<(), EngineError> {
        let budget = Budget::new(unwanted.clone(), self.kilobytes);
        grammars::output(&self.parts.grammars, request, &Rules::of(request)?, &budget).map(drop)
    }

    /// Prepares and starts a decoder for the answer to this request.
    ///
    /// # Errors
    /// As for [`Self::prepare`].
    pub fn start(&self, request: &MessagesRequest, thinks: Option<&'static ThinkingTags>) -> Result<AnswerDecoder, EngineError> {
        self.start_prepared(request, self.prepare(request, &CancellationToken::new())?, thinks)
    }

    /// A decoder for the answer to this request, for which these grammars were prepared. `thinks`: the thinking tags that the
    /// prompt has opened at its end.
    ///
    /// # Errors
    /// `tool_choice` names a tool that cannot be called.
    pub fn start_prepared(
        &self,
        request: &MessagesRequest,
        grammars: AnswerGrammars,
        thinks: Option<&'static ThinkingTags>,
    ) -> Result<AnswerDecoder, EngineError> {
        let rules = Rules::of(request)?;
        let parts = self.parts.clone();
        let earlier_calls = call_ids::count(request);
        let output = grammars.output();
        let forced = rules.must_call.then(|| rules.fill(earlier_calls + 1, |fill| grammars.opening(Opening::Call, fill)));
        let stage = match (forced.transpose()?.flatten(), &output) {
            (Some(call), _) => Stage::Opening(call),
            (None, Some(follower)) if thinks.is_none() => Stage::Start(follower.clone(), String::new()),
            (None, _) => Stage::Text,
        };
        let mut markup = parts.grammars.markup();
        let tags = THINKING_TAGS.iter().flat_map(|tags| [tags.open_markup, tags.close]);
        markup.extend(tags.chain(parts.format.markup()).filter_map(|tag| parts.tokenizer.added_token(tag)));
        Ok(AnswerDecoder {
            detokenizer: Detokenizer::new(parts.tokenizer.clone(), markup),
            // A forced call leaves no room for thoughts.
            thinking: parts.format.separator(thinks.filter(|_| !rules.must_call)),
            parser: Parser::new(parts.format.clone(), rules.tools.clone()),
            flow: TextFlow::new(&request.stop_sequences),
            never_in_text: if rules.tools.is_empty() { parts.grammars.open_tokens() } else { Vec::new() },
            trail: request.top_logprobs.map(|top| LogprobTrail::new(parts.tokenizer.clone(), top)),
            choices: None,
            generated: 0,
            parts,
            grammars,
            rules,
            stage,
            output,
            earlier_calls,
            calls: 0,
            finished: false,
        })
    }

    /// A decoder for the continuation of a text: what looks like thoughts or calls is text too. `settings`: a request without
    /// tools.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_plain(&self, settings: &MessagesRequest) -> Result<AnswerDecoder, EngineError> {
        Ok(AnswerDecoder {
            thinking: Separator::Tags(Thinking::none()),
            never_in_text: Vec::new(),
            ..self.start(settings, None)?
        })
    }
}

#[cfg(test)]
impl AnswerDecoders {
    /// How many grammars were compiled so far.
    pub(super) fn compilations(&self) -> usize {
        self.parts.grammars.compilations()
    }
}

/// The tokens that end an answer: those that the model's files name first, then those of its format.
fn ends(tokenizer: &Tokenizer, format: &dyn ToolFormat) -> Vec<u32> {
    let named = tokenizer.eos_tokens();
    let of_format = format.ends().iter().filter_map(|markup| tokenizer.added_token(markup));
    named.iter().copied().chain(of_format.filter(|token| !named.contains(token))).collect()
}

/// The tokens that complete the tag and continue past it, if the text ends with the tag's first `there` bytes.
fn overshooting(tokenizer: &Tokenizer, tag: &Tag, there: usize) -> Vec<u32> {
    (0..tokenizer.vocab_size() as u32).filter(|token| tag.goes_past(there, tokenizer.bytes(*token))).collect()
}
