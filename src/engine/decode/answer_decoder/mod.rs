//! One answer being generated: follows the tokens, says which may come next, gives what they add.

mod rules;

use std::sync::Arc;

use self::rules::Rules;
use super::Piece;
use super::constraint::{Follower, Grammars, TokenMask};
use super::form::Tag;
use super::formats::ToolFormat;
use super::parser::Parser;
use super::text_flow::TextFlow;
use super::thinking::{Split, THINKING_TAGS, Thinking, ThinkingTags};
use crate::engine::EngineError;
use crate::engine::text::{Detokenizer, Tokenizer, call_ids};
use crate::wire::{MessagesRequest, OutputFormat};

/// Makes the decoders of a model's answers, whose tool calls are in one format. Compiled grammars are shared between them.
pub struct AnswerDecoders {
    parts: Arc<SharedParts>,
}

/// The parts that all answers of a model share.
struct SharedParts {
    tokenizer: Arc<Tokenizer>,
    format: Arc<dyn ToolFormat>,
    grammars: Grammars,
    /// For each tag, and `n` bytes of it already there: the tokens that would complete it and go on past it, into what the
    /// grammar has to decide.
    overshooting: Vec<Vec<Vec<u32>>>,
    /// The same for each of the tags that close thoughts: an answer that follows a schema begins with a token of its own.
    overshooting_close: Vec<Vec<Vec<u32>>>,
}

impl AnswerDecoders {
    /// # Errors
    /// The vocabulary cannot be constrained.
    pub fn new(tokenizer: Arc<Tokenizer>, format: Arc<dyn ToolFormat>) -> Result<Self, EngineError> {
        let grammars = Grammars::new(tokenizer.clone(), format.clone())?;
        let of_tag = |tag: &Tag| (0..tag.len()).map(|there| overshooting(&tokenizer, tag, there)).collect();
        let closing = |tags: &'static ThinkingTags| Tag { words: std::slice::from_ref(&tags.close), only_after: None };
        let overshooting_close = THINKING_TAGS.iter().map(closing).map(|tag| of_tag(&tag)).collect();
        let overshooting = format.tags().iter().map(of_tag).collect();
        Ok(Self { parts: Arc::new(SharedParts { tokenizer, format, grammars, overshooting, overshooting_close }) })
    }

    /// The decoder of the answer to this request. `thinks`: the tags of thoughts whose opening one ends the prompt.
    ///
    /// # Errors
    /// `tool_choice` asks for a tool that the request does not have; the text's schema cannot be used; or a strict one cannot be
    /// enforced in full.
    pub fn start(&self, request: &MessagesRequest, thinks: Option<&'static ThinkingTags>) -> Result<AnswerDecoder, EngineError> {
        let rules = Rules::of(request)?;
        let parts = self.parts.clone();
        let earlier_calls = call_ids::count(request);
        for (at, tool) in request.tools.iter().enumerate() {
            parts.grammars.check_strict(tool, &format!("tools.{at}.input_schema"))?;
        }
        let output = OutputFormat::of(&request.extra).map_err(EngineError::Request)?;
        let with_output = |format: OutputFormat| rules.fill(earlier_calls + 1, |fill| parts.grammars.output(&format, fill));
        let output = output.map(with_output).transpose()?;
        let stage = match (rules.must_call, &output) {
            (true, _) => Stage::Opening(rules.fill(earlier_calls + 1, |fill| parts.grammars.call(fill))?),
            (false, Some(follower)) if thinks.is_none() => Stage::Start(follower.clone(), String::new()),
            (false, _) => Stage::Text,
        };
        let mut markup = parts.grammars.markup();
        let tags = THINKING_TAGS.iter().flat_map(|tags| [tags.open, tags.close]);
        markup.extend(tags.filter_map(|tag| parts.tokenizer.added_token(tag)));
        Ok(AnswerDecoder {
            detokenizer: Detokenizer::new(parts.tokenizer.clone(), markup),
            // A forced call comes at once.
            thinking: Thinking::new(thinks.filter(|_| !rules.must_call)),
            parser: Parser::new(parts.format.clone(), rules.tools.clone()),
            flow: TextFlow::new(&request.stop_sequences),
            parts,
            rules,
            stage,
            output,
            earlier_calls,
            calls: 0,
            finished: false,
        })
    }
}

/// Text tokens that, after the first `there` bytes of the tag, contain the rest of it and more.
fn overshooting(tokenizer: &Tokenizer, tag: &Tag, there: usize) -> Vec<u32> {
    (0..tokenizer.vocab_size() as u32).filter(|token| tag.goes_past(there, tokenizer.bytes(*token))).collect()
}

/// Which part of the answer the next token belongs to.
enum Stage {
    /// Free text, in which a call may open.
    Text,
    /// Where a call begins, or text that follows a schema; with the text so far, which may be the start of either.
    Start(Follower, String),
    /// Text that follows a schema.
    Output(Follower),
    /// A call's markup and name, up to its arguments.
    Opening(Follower),
    /// A call's arguments and its end. The tokens so far are kept: see [`AnswerDecoder::loosen`].
    Arguments(Follower, Vec<u32>),
    /// After a call, where others may follow under the same tag.
    AfterCall(Follower),
}

/// One answer being generated.
pub struct AnswerDecoder {
    parts: Arc<SharedParts>,
    rules: Rules,
    detokenizer: Detokenizer,
    thinking: Thinking,
    parser: Parser,
    flow: TextFlow,
    stage: Stage,
    /// The grammar of the answer where its text follows a schema.
    output: Option<Follower>,
    /// Calls in the conversation before the answer.
    earlier_calls: usize,
    calls: usize,
    finished: bool,
}

impl AnswerDecoder {
    /// The tokens that may come next; `None`: any.
    ///
    /// # Errors
    /// A grammar became too large.
    pub fn mask(&mut self) -> Result<Option<TokenMask>, EngineError> {
        let parts = self.parts.clone();
        let vocab_size = parts.tokenizer.vocab_size();
        let think = self.tokens_that_open_thoughts();
        if self.finished {
            return Ok(Some(TokenMask::only(vocab_size, parts.tokenizer.eos_tokens())));
        }
        let mask = match &mut self.stage {
            Stage::Text => {
                let forbidden = self.forbidden_in_text();
                return Ok((!forbidden.is_empty()).then(|| TokenMask::all_but(vocab_size, &forbidden)));
            }
            Stage::Start(follower, _) => follower.mask().map(|mut mask| {
                think.into_iter().for_each(|token| mask.allow(token));
                mask
            }),
            Stage::Output(follower) | Stage::Opening(follower) | Stage::AfterCall(follower) | Stage::Arguments(follower, _) => {
                follower.mask()
            }
        };
        mask.or_else(|reason| self.loosen(reason)).map(Some)
    }

    /// Tokens that spell what has to come next in a call, as far as there is no choice. A guess: others may spell it too.
    pub fn forced(&self) -> Vec<u32> {
        let (Stage::Output(follower) | Stage::Opening(follower) | Stage::AfterCall(follower) | Stage::Arguments(follower, _)) =
            &self.stage
        else {
            return vec![];
        };
        let text = String::from_utf8(follower.forced()).unwrap_or_default();
        self.parts.tokenizer.encode(&text).unwrap_or_default()
    }

    /// Takes the token that was sampled, gives what it adds to the answer. An end-of-answer token finishes the answer, and
    /// nothing is taken after that.
    ///
    /// # Errors
    /// The token is not one that [`Self::mask`] allows.
    pub fn push(&mut self, token: u32) -> Result<Vec<Piece>, EngineError> {
        if self.finished {
            return Ok(vec![]);
        }
        let opens_thoughts = self.tokens_that_open_thoughts().contains(&token);
        let ends = self.parts.tokenizer.eos_tokens().contains(&token);
        match &mut self.stage {
            Stage::Text => {
                if self.forbidden_in_text().contains(&token) {
                    return Err(EngineError::Device(format!("token {token} was generated where it may not come")));
                }
                if ends {
                    self.finished = true;
                    return Ok(vec![]);
                }
            }
            Stage::Start(..) if opens_thoughts => self.stage = Stage::Text,
            Stage::Start(follower, _) | Stage::Output(follower) => {
                follower.push(token)?;
                if ends {
                    self.finished = true;
                    return Ok(vec![]);
                }
            }
            Stage::Opening(follower) | Stage::AfterCall(follower) => follower.push(token)?,
            Stage::Arguments(follower, tokens) => {
                follower.push(token)?;
                tokens.push(token);
            }
        }
        let text = self.detokenizer.push(token);
        let pieces = self.pass(&text);
        self.advance()?;
        Ok(pieces)
    }

    /// Whether the answer is over: no token can follow but one that ends it.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The stop sequence that ended the answer. The text before it has been given.
    pub fn stop_sequence(&self) -> Option<&str> {
        self.flow.stop_sequence()
    }

    /// The answer ends here, whatever the reason: gives the text that was held back.
    ///
    /// Inside a tool call nothing is added: its arguments end where the model ended, and of a call without arguments so far
    /// nothing is shown. A completed one would be run by clients as if the model had meant it.
    pub fn finish(&mut self) -> Vec<Piece> {
        self.finished = true;
        if matches!(self.stage, Stage::Text | Stage::Start(..) | Stage::Output(_)) {
            let text = self.detokenizer.finish();
            let mut pieces = self.pass(&text);
            if let Stage::Start(_, text) = &mut self.stage {
                self.flow.push(Piece::Text(std::mem::take(text)), &mut pieces);
            }
            let rest = self.thinking.finish();
            pieces.extend(self.sort(rest));
            self.parser.finish().into_iter().for_each(|piece| self.flow.push(piece, &mut pieces));
            self.flow.finish(&mut pieces);
            return pieces;
        }
        let mut pieces = Vec::new();
        self.flow.finish_before_call(&mut pieces);
        // The rest is markup of a call that was cut; but where its arguments are complete, the call is.
        pieces.extend(self.parser.finish().into_iter().filter(|piece| *piece == Piece::ToolEnd));
        pieces
    }

    /// Whether the answer has a complete tool call.
    pub fn called_tool(&self) -> bool {
        self.calls > 0
    }

    /// Text through everything that looks at it.
    fn pass(&mut self, text: &str) -> Vec<Piece> {
        let split = self.thinking.push(text);
        self.sort(split)
    }

    /// Thoughts as they are; the answer through the parser, the stop sequences and the whitespace rules.
    fn sort(&mut self, Split { thought, answer }: Split) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.rules.shows_thinking && !thought.is_empty() {
            pieces.push(Piece::Thinking(thought));
        }
        let answer = self.decide(answer);
        let read = match self.rules.tools.is_empty() || matches!(self.stage, Stage::Output(_)) {
            // Without tools nothing can be a call, nor inside a JSON value.
            true => vec![Piece::Text(answer)],
            false => self.parser.push(&answer),
        };
        read.into_iter().for_each(|piece| self.flow.push(piece, &mut pieces));
        self.finished |= self.flow.stop_sequence().is_some();
        pieces
    }

    /// The tokens with which thoughts may open before an answer that follows a schema.
    fn tokens_that_open_thoughts(&self) -> Vec<u32> {
        let may = matches!(&self.stage, Stage::Start(_, text) if text.is_empty()) && !self.thinking.is_over();
        let tags = THINKING_TAGS.iter().filter(|_| may && self.rules.shows_thinking);
        tags.filter_map(|tags| self.parts.tokenizer.added_token(tags.open)).collect()
    }

    /// Where a call begins or text that follows a schema: holds the text until it tells which.
    fn decide(&mut self, answer: String) -> String {
        let Stage::Start(follower, text) = &mut self.stage else { return answer };
        text.push_str(&answer);
        let form = self.parts.format.form(self.parts.format.forced_tag());
        let tag = form.tag_text();
        let may_call = !self.rules.tools.is_empty();
        if text.is_empty() || may_call && tag.len() > text.len() && tag.starts_with(text.as_str()) {
            return String::new();
        }
        let (follower, text) = (follower.clone(), std::mem::take(text));
        let calls = may_call && text.starts_with(tag);
        self.stage = if calls { Stage::Opening(follower) } else { Stage::Output(follower) };
        text
    }

    /// Goes on to the next stage where the text has come to the end of one.
    fn advance(&mut self) -> Result<(), EngineError> {
        let grammars = &self.parts.grammars;
        let tag = self.parser.tag();
        let last = !self.rules.several;
        match &self.stage {
            Stage::Text if self.parser.in_call() => {
                let number = self.earlier_calls + self.calls + 1;
                self.stage = Stage::Opening(self.rules.fill(number, |fill| grammars.rest_of_call(tag, fill))?);
            }
            Stage::Text if self.thinking.is_over() && self.calls == 0 => {
                if let Some(follower) = &self.output {
                    self.stage = Stage::Start(follower.clone(), String::new());
                }
            }
            Stage::Start(follower, _) | Stage::Output(follower) => self.finished |= follower.is_done(),
            // A JSON value that began as a call does.
            Stage::Opening(follower) if follower.is_done() && self.parser.name().is_none() && self.output.is_some() => {
                self.stage = Stage::Output(follower.clone());
                self.finished = true;
            }
            Stage::Opening(follower) if follower.is_done() => self.stage = self.arguments()?,
            Stage::AfterCall(follower) if follower.is_done() && self.parser.name().is_some() => self.stage = self.arguments()?,
            Stage::Arguments(follower, _) if follower.is_done() => {
                self.calls += 1;
                let number = self.earlier_calls + self.calls;
                match self.rules.fill(number, |fill| grammars.after_call(tag, fill, last))? {
                    Some(follower) => self.stage = Stage::AfterCall(follower),
                    None => self.end_call(last)?,
                }
            }
            Stage::AfterCall(follower) if follower.is_done() => self.end_call(last)?,
            _ => {}
        }
        Ok(())
    }

    fn end_call(&mut self, last: bool) -> Result<(), EngineError> {
        self.stage = match &self.output {
            Some(_) => {
                let number = self.earlier_calls + self.calls + 1;
                Stage::Start(self.rules.fill(number, |fill| self.parts.grammars.call_or_end(fill))?, String::new())
            }
            None => Stage::Text,
        };
        self.finished |= last;
        Ok(())
    }

    /// The stage of the arguments of the call whose name is known now.
    fn arguments(&self) -> Result<Stage, EngineError> {
        let named = self.parser.name().and_then(|name| self.rules.tools.iter().find(|tool| tool.name == name));
        let tool = named.ok_or_else(|| EngineError::Device("a tool call has no known name".into()))?;
        Ok(Stage::Arguments(self.parts.grammars.arguments(self.parser.tag(), tool)?, Vec::new()))
    }

    /// The tokens that may not come next in free text: those that open a call where none may be, and those that open one and
    /// go on past its opening tag.
    fn forbidden_in_text(&self) -> Vec<u32> {
        if let Some((tags, there)) = self.thinking.closing_so_far() {
            if self.output.is_none() {
                return vec![];
            }
            // The text is still to come, and it begins with a token of its own.
            let close = THINKING_TAGS.iter().position(|known| known == tags).map(|at| &self.parts.overshooting_close[at][there]);
            return close.into_iter().flatten().chain(self.parts.tokenizer.eos_tokens()).copied().collect();
        }
        if self.rules.tools.is_empty() {
            return self.parts.grammars.open_tokens();
        }
        let tags = self.parts.format.tags().iter().zip(&self.parts.overshooting);
        tags.flat_map(|(tag, overshooting)| &overshooting[self.parser.opening_so_far(tag)]).copied().collect()
    }

    /// The grammar of a tool's arguments became too large on the way: goes on with that of any JSON object. Other grammars have
    /// no looser one to go on with.
    fn loosen(&mut self, reason: EngineError) -> Result<TokenMask, EngineError> {
        let Stage::Arguments(follower, tokens) = &mut self.stage else {
            return Err(reason);
        };
        tracing::warn!("the rest of a tool call's arguments can be any JSON: {reason}");
        *follower = self.parts.grammars.any_arguments(self.parser.tag())?;
        tokens.iter().try_for_each(|token| follower.push(*token))?;
        follower.mask()
    }
}

#[cfg(test)]
mod tests;
