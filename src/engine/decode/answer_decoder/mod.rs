//! Decodes one answer: takes each sampled token, returns what it adds, and says which tokens may come next.

mod decoders;
mod free_text;
mod grammars;
mod rules;

use std::sync::Arc;

pub use self::decoders::AnswerDecoders;
use self::decoders::SharedParts;
pub use self::grammars::AnswerGrammars;
use self::rules::Rules;
use super::Piece;
use super::choices::{ChoiceTrail, TokenChoice};
use super::constraint::Opening;
use super::follower::{Follower, TokenMask};
use super::logprob_trail::{LogprobTrail, Placed};
use super::parser::Parser;
use super::separator::{Separated, Separator};
use super::text_flow::TextFlow;
use crate::engine::EngineError;
use crate::engine::text::Detokenizer;
use crate::wire::Tool;

/// Where in the answer the next token falls, with the grammar that constrains it there.
enum Stage {
    /// Thoughts or unconstrained text, in which a call may open.
    Text,
    /// The start of an answer with an output format: a value of its schema, or a call. With the text so far, which fits both.
    Start(Follower, String),
    /// Inside a value of the output format.
    Output(Follower),
    /// A call from its tag or just after it, up to its arguments.
    Opening(Follower),
    /// A call's arguments and its end, with their tokens so far, which [`AnswerDecoder::loosen`] replays.
    Arguments(Follower, Vec<u32>),
    /// After a call, where the same tag may cover another one.
    AfterCall(Follower),
}

/// Decodes one answer. For each token: take [`Self::mask`], sample, then [`Self::weigh`] and [`Self::push`] the sampled token.
pub struct AnswerDecoder {
    parts: Arc<SharedParts>,
    grammars: AnswerGrammars,
    rules: Rules,
    detokenizer: Detokenizer,
    thinking: Separator,
    parser: Parser,
    flow: TextFlow,
    /// The tokens that open a call, if the answer must not call a tool; else empty.
    never_in_text: Vec<u32>,
    /// `Some` if the request asks for log-probabilities.
    trail: Option<LogprobTrail>,
    /// `Some` once [`Self::watch_choices`] was called.
    choices: Option<ChoiceTrail>,
    /// Length of all text from the detokenizer, in bytes.
    generated: usize,
    stage: Stage,
    /// The grammar of the output format, if the request has one.
    output: Option<Follower>,
    /// How many calls the conversation has before this answer. Call ids continue from there.
    earlier_calls: usize,
    /// How many calls this answer has completed.
    calls: usize,
    finished: bool,
}

impl AnswerDecoder {
    /// The tokens that may come next; `None` if all may.
    ///
    /// # Errors
    /// A grammar grew too large and has no looser replacement.
    pub fn mask(&mut self) -> Result<Option<TokenMask>, EngineError> {
        let parts = self.parts.clone();
        let vocab_size = parts.tokenizer.vocab_size();
        let think = self.tokens_that_open_thoughts();
        if self.finished {
            return Ok(Some(TokenMask::only(vocab_size, &parts.ends)));
        }
        let mask = match &mut self.stage {
            Stage::Text => return Ok(self.mask_of_text()),
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

    /// A draft: tokens for the bytes that the grammar forces next. Other tokens may spell the same bytes, so it has to be
    /// verified.
    pub fn forced(&self) -> Vec<u32> {
        let (Stage::Output(follower) | Stage::Opening(follower) | Stage::AfterCall(follower) | Stage::Arguments(follower, _)) =
            &self.stage
        else {
            return vec![];
        };
        let text = String::from_utf8(follower.forced()).unwrap_or_default();
        self.parts.tokenizer.encode(&text).unwrap_or_default()
    }

    /// From here on, notes how sure the model was of each token of a call.
    pub fn watch_choices(&mut self) {
        self.choices = Some(ChoiceTrail::new(self.parts.tokenizer.clone()));
    }

    /// All tokens so far, and how sure the model was of those in calls; `None` if nobody asked for it.
    pub fn take_choices(&mut self) -> Option<(Vec<u32>, Vec<TokenChoice>)> {
        self.choices.as_mut().map(ChoiceTrail::take)
    }

    /// Whether somebody asks how likely each token was, so that [`Self::weigh`] wants to see its logits.
    pub fn weighs(&self) -> bool {
        self.trail.is_some() || self.choices.is_some()
    }

    /// Notes how likely the token was that is pushed next, if somebody asks for that. `logits`: those it was sampled from, as
    /// the model computed them; `mask`: what [`Self::mask`] allowed.
    pub fn weigh(&mut self, token: u32, logits: &[f32], mask: Option<&TokenMask>) {
        let is_forced = self.choices.is_some() && !self.forced().is_empty();
        if let Some(choices) = &mut self.choices {
            choices.weigh(token, logits, mask, is_forced);
        }
        if let Some(trail) = &mut self.trail {
            trail.sampled(token, logits);
        }
    }

    /// Takes a sampled token and returns what it adds to the answer. An end-of-answer token finishes the answer; tokens after it
    /// are ignored.
    ///
    /// # Errors
    /// [`Self::mask`] does not allow the token, or the next stage's grammar does not compile.
    pub fn push(&mut self, token: u32) -> Result<Vec<Piece>, EngineError> {
        if self.finished {
            return Ok(vec![]);
        }
        let opens_thoughts = self.tokens_that_open_thoughts().contains(&token);
        let ends = self.parts.ends.contains(&token);
        match &mut self.stage {
            Stage::Text => {
                if !self.may_come_in_text(token) {
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
        let before = self.trail.as_ref().map_or(0, |_| self.detokenizer.owed(token));
        let text = self.detokenizer.push(token);
        if let Some(trail) = &mut self.trail {
            let end = self.generated + text.len() + self.detokenizer.pending();
            trail.locate(self.generated + before..end, self.detokenizer.shows(token));
        }
        let is_text = matches!(self.stage, Stage::Text | Stage::Start(..) | Stage::Output(_));
        let call = (!is_text).then_some(self.calls);
        let pieces = self.pass(&text);
        self.advance()?;
        let pieces = self.with_logprobs(pieces);
        if let Some(choices) = &mut self.choices {
            choices.place(token, call, &pieces);
        }
        Ok(pieces)
    }

    /// Whether the answer is over, so that nothing but an end-of-answer token can follow.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The stop sequence that ended the answer, if one did. All text before it has been returned.
    pub fn stop_sequence(&self) -> Option<&str> {
        self.flow.stop_sequence()
    }

    /// Ends the answer, for whatever reason, and returns the text that was held back.
    ///
    /// An open tool call is not completed, since clients would run it as if the model had meant it: its arguments end where the
    /// model stopped, and a call without arguments so far is not reported at all.
    pub fn finish(&mut self) -> Vec<Piece> {
        self.finished = true;
        let rest = self.rest();
        let mut pieces = self.with_logprobs(rest);
        pieces.extend(self.trail.as_mut().and_then(LogprobTrail::finish));
        pieces
    }

    /// What was held back and belongs to the answer, now that nothing follows.
    fn rest(&mut self) -> Vec<Placed> {
        if matches!(self.stage, Stage::Text | Stage::Start(..) | Stage::Output(_)) {
            let text = self.detokenizer.finish();
            let mut pieces = self.pass(&text);
            if let Stage::Start(_, text) = &mut self.stage {
                let piece = Piece::Text(std::mem::take(text));
                self.flow.push(Placed { piece, end: self.generated }, &mut pieces);
            }
            let rest = self.thinking.finish();
            pieces.extend(self.sort(rest));
            let read = self.parser.finish();
            self.in_all_text(read).into_iter().for_each(|placed| self.flow.push(placed, &mut pieces));
            self.flow.finish(&mut pieces);
            return pieces;
        }
        let mut pieces = Vec::new();
        self.flow.finish_before_call(&mut pieces);
        // The parser holds markup of the cut call, which is dropped, or the beginning of an output format's value that looked
        // like a call, which is text. The end of a call that is complete is kept.
        let has_ended = matches!(self.stage, Stage::AfterCall(_));
        let is_first = matches!(self.stage, Stage::Opening(_)) && self.calls == 0;
        let may_be_value = is_first && self.output.is_some() && !self.rules.must_call;
        let belongs = |piece: &Piece| match piece {
            Piece::ToolInput(_) | Piece::ToolEnd => has_ended,
            Piece::Text(text) => may_be_value && text.trim_start().starts_with('{'),
            _ => false,
        };
        let rest = self.parser.finish().into_iter().filter(|placed| belongs(&placed.piece));
        pieces.extend(self.in_all_text(rest.collect()));
        pieces
    }

    /// Whether the answer has at least one complete tool call.
    pub fn called_tool(&self) -> bool {
        self.calls > 0
    }

    /// Passes text through the stages: thinking, parser, stop sequences.
    fn pass(&mut self, text: &str) -> Vec<Placed> {
        self.generated += text.len();
        let parts = self.thinking.push(text);
        self.sort(parts)
    }

    /// Passes thoughts on unchanged, and the answer through the parser, the stop sequences and the whitespace rules.
    fn sort(&mut self, parts: Vec<Separated>) -> Vec<Placed> {
        let mut pieces = Vec::new();
        let end = self.generated;
        for part in parts {
            let text = |text| vec![Placed { piece: Piece::Text(text), end }];
            let read = match part {
                Separated::Thought(thought) => {
                    pieces.extend(self.rules.shows_thinking.then_some(Placed { piece: Piece::Thinking(thought), end }));
                    continue;
                }
                Separated::Said(said) => text(self.decide(said)),
                // Of something that nobody offered: its markup is no text for the user.
                Separated::Call(_) if self.rules.tools.is_empty() => continue,
                Separated::Answer(answer) | Separated::Call(answer) => {
                    let answer = self.decide(answer);
                    // There are no calls without tools, nor inside a JSON value.
                    if self.rules.tools.is_empty() || matches!(self.stage, Stage::Output(_)) {
                        text(answer)
                    } else {
                        let read = self.parser.push(&answer);
                        self.in_all_text(read)
                    }
                }
            };
            read.into_iter().for_each(|placed| self.flow.push(placed, &mut pieces));
        }
        self.finished |= self.flow.stop_sequence().is_some();
        pieces
    }

    /// The parser's pieces with their positions in all text. The answer is its end; the parser has not seen what came before.
    fn in_all_text(&self, read: Vec<Placed>) -> Vec<Placed> {
        let before = self.generated - self.parser.received();
        read.into_iter().map(|placed| Placed { end: before + placed.end, ..placed }).collect()
    }

    /// The pieces, with log-probabilities where the request asks for them.
    fn with_logprobs(&mut self, pieces: Vec<Placed>) -> Vec<Piece> {
        let is_thinking = self.thinking.is_thinking();
        match &mut self.trail {
            None => pieces.into_iter().map(|placed| placed.piece).collect(),
            Some(trail) => {
                if is_thinking {
                    trail.forget();
                }
                trail.pass(pieces)
            }
        }
    }

    /// Holds back text until it is clear whether a tool call begins or a value of the output format.
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

    /// Moves to the next stage if the text has reached the end of the current one.
    fn advance(&mut self) -> Result<(), EngineError> {
        let tag = self.parser.tag();
        let last = !self.rules.several;
        match &self.stage {
            Stage::Text if self.parser.in_call() => {
                self.stage = self.opening(Opening::RestOfCall(tag))?.map_or(Stage::Text, Stage::Opening);
            }
            Stage::Text if self.thinking.is_over() && self.calls == 0 => {
                if let Some(follower) = &self.output {
                    self.stage = Stage::Start(follower.clone(), String::new());
                }
            }
            Stage::Start(follower, _) | Stage::Output(follower) => self.finished |= follower.is_done(),
            // It was no call, but a JSON value with the same beginning.
            Stage::Opening(follower) if follower.is_done() && self.parser.name().is_none() && self.output.is_some() => {
                self.stage = Stage::Output(follower.clone());
                self.finished = true;
            }
            Stage::Opening(follower) if follower.is_done() => self.stage = self.arguments()?,
            Stage::AfterCall(follower) if follower.is_done() && self.parser.name().is_some() => self.stage = self.arguments()?,
            Stage::Arguments(follower, _) if follower.is_done() => {
                let after = self.opening(if last { Opening::AfterLastCall(tag) } else { Opening::AfterCall(tag) })?;
                self.calls += 1;
                match after {
                    Some(follower) => self.stage = Stage::AfterCall(follower),
                    None => self.end_call(last)?,
                }
            }
            Stage::AfterCall(follower) if follower.is_done() => self.end_call(last)?,
            _ => {}
        }
        Ok(())
    }

    /// The number of the open or else the next call, counted from 1 on through the whole conversation.
    fn call_number(&self) -> usize {
        self.earlier_calls + self.calls + 1
    }

    /// The next opening's grammar.
    fn opening(&self, opening: Opening) -> Result<Option<Follower>, EngineError> {
        self.rules.fill(self.call_number(), |fill| self.grammars.opening(opening, fill))
    }

    /// Leaves a call; `last` also finishes the answer.
    fn end_call(&mut self, last: bool) -> Result<(), EngineError> {
        let or_end = if self.output.is_some() { self.opening(Opening::CallOrEnd)? } else { None };
        self.stage = or_end.map_or(Stage::Text, |follower| Stage::Start(follower, String::new()));
        self.finished |= last;
        Ok(())
    }

    /// The tool of the open call.
    fn called(&self) -> Option<&Tool> {
        let name = self.parser.name()?;
        self.rules.tools.iter().find(|tool| tool.name == name)
    }

    /// The stage for the arguments of the open call, whose name has just become known.
    fn arguments(&self) -> Result<Stage, EngineError> {
        let follower = self.called().and_then(|tool| self.grammars.arguments(self.parser.tag(), &tool.name));
        let stage = follower.map(|follower| Stage::Arguments(follower, Vec::new()));
        stage.ok_or_else(|| EngineError::Device("a tool call has no known name".into()))
    }

    /// Replaces the grammar of a call's arguments, which has grown too large, by that of any JSON object, or returns the error.
    fn loosen(&mut self, reason: EngineError) -> Result<TokenMask, EngineError> {
        let (tag, is_strict) = (self.parser.tag(), self.called().is_some_and(Tool::is_strict));
        match &mut self.stage {
            Stage::Arguments(follower, tokens) if !is_strict => {
                tracing::warn!("the rest of a tool call's arguments can be any JSON: {reason}");
                *follower = self.grammars.any_arguments(tag);
                tokens.iter().try_for_each(|token| follower.push(*token)).and_then(|()| follower.mask())
            }
            _ => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests;
