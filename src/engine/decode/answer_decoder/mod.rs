//! One answer being generated: follows the tokens, says which may come next, gives what they add.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::decode::Piece;
use crate::engine::decode::constraint::{Follower, Grammars, TokenMask};
use crate::engine::decode::form::Tag;
use crate::engine::decode::formats::ToolFormat;
use crate::engine::decode::grammar::Fill;
use crate::engine::decode::parser::Parser;
use crate::engine::decode::text_flow::TextFlow;
use crate::engine::decode::thinking::{Split, THINKING_TAGS, Thinking, ThinkingTags};
use crate::engine::text::{Detokenizer, Tokenizer, call_ids, callable};
use crate::wire::{MessagesRequest, Tool, ToolChoice};

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
}

impl AnswerDecoders {
    /// # Errors
    /// The vocabulary cannot be constrained.
    pub fn new(tokenizer: Arc<Tokenizer>, format: Arc<dyn ToolFormat>) -> Result<Self, EngineError> {
        let grammars = Grammars::new(tokenizer.clone(), format.clone())?;
        let of_tag = |tag: &Tag| (0..tag.len()).map(|there| overshooting(&tokenizer, tag, there)).collect();
        let overshooting = format.tags().iter().map(of_tag).collect();
        Ok(Self { parts: Arc::new(SharedParts { tokenizer, format, grammars, overshooting }) })
    }

    /// The decoder of the answer to this request. `thinks`: the tags of thoughts whose opening one ends the prompt.
    ///
    /// # Errors
    /// `tool_choice` asks for a tool that the request does not have.
    pub fn start(&self, request: &MessagesRequest, thinks: Option<&'static ThinkingTags>) -> Result<AnswerDecoder, EngineError> {
        let rules = Rules::of(request)?;
        let parts = self.parts.clone();
        let earlier_calls = call_ids::count(request);
        let stage = match rules.must_call {
            true => Stage::Opening(rules.fill(earlier_calls + 1, |fill| parts.grammars.call(fill))?),
            false => Stage::Text,
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

/// What `tool_choice` asks for.
struct Rules {
    /// The tools that may be called; none where calls are forbidden.
    tools: Arc<[Tool]>,
    must_call: bool,
    /// Whether a call may follow another.
    several: bool,
    shows_thinking: bool,
}

impl Rules {
    fn of(request: &MessagesRequest) -> Result<Self, EngineError> {
        let bad = |reason: String| Err(EngineError::Request(reason));
        let shows_thinking = shows_thinking(request);
        let (must_call, one_only) = match &request.tool_choice {
            None => (false, false),
            Some(ToolChoice::None) => return Ok(Self { tools: Arc::new([]), must_call: false, several: false, shows_thinking }),
            Some(ToolChoice::Auto { disable_parallel_tool_use }) => (false, *disable_parallel_tool_use),
            Some(ToolChoice::Any { disable_parallel_tool_use } | ToolChoice::Tool { disable_parallel_tool_use, .. }) => {
                (true, *disable_parallel_tool_use)
            }
        };
        let mut tools = callable(request);
        if let Some(ToolChoice::Tool { name, .. }) = &request.tool_choice {
            tools.retain(|tool| tool.name == *name);
            if tools.is_empty() {
                return bad(format!("tool_choice names the tool {name:?}, which is not among the tools that can be called"));
            }
        }
        if must_call && tools.is_empty() {
            return bad("tool_choice asks for a tool call, but the request has no tools".into());
        }
        Ok(Self { tools: tools.into(), must_call, several: !one_only, shows_thinking })
    }

    /// Gives a grammar what it needs of the conversation's call of this number.
    fn fill<T>(&self, number: usize, of: impl FnOnce(&Fill) -> T) -> T {
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
        let [this, next] = [number, number + 1].map(call_ids::of_number);
        of(&Fill { names: &names, ids: [&this, &next] })
    }
}

/// Whether the client wants to see thoughts.
fn shows_thinking(request: &MessagesRequest) -> bool {
    let thinking = request.extra.get("thinking");
    let field = |name: &str| thinking.and_then(|thinking| thinking[name].as_str());
    matches!(field("type"), Some("enabled" | "adaptive")) && field("display") != Some("omitted")
}

/// Which part of the answer the next token belongs to.
enum Stage {
    /// Free text, in which a call may open.
    Text,
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
        if self.finished {
            return Ok(Some(TokenMask::only(vocab_size, parts.tokenizer.eos_tokens())));
        }
        let mask = match &mut self.stage {
            Stage::Text => {
                let forbidden = self.forbidden_in_text();
                return Ok((!forbidden.is_empty()).then(|| TokenMask::all_but(vocab_size, &forbidden)));
            }
            Stage::Opening(follower) | Stage::AfterCall(follower) | Stage::Arguments(follower, _) => follower.mask(),
        };
        mask.or_else(|reason| self.loosen(&reason)).map(Some)
    }

    /// Tokens that spell what has to come next in a call, as far as there is no choice. A guess: others may spell it too.
    pub fn forced(&self) -> Vec<u32> {
        let (Stage::Opening(follower) | Stage::AfterCall(follower) | Stage::Arguments(follower, _)) = &self.stage else {
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
        match &mut self.stage {
            Stage::Text => {
                if self.parts.tokenizer.eos_tokens().contains(&token) {
                    self.finished = true;
                    return Ok(vec![]);
                }
                if self.forbidden_in_text().contains(&token) {
                    return Err(EngineError::Device(format!("token {token} was generated where no tool call may open with it")));
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
        if matches!(self.stage, Stage::Text) {
            let text = self.detokenizer.finish();
            let mut pieces = self.pass(&text);
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
        let read = match self.rules.tools.is_empty() {
            // Without tools nothing can be a call.
            true => vec![Piece::Text(answer)],
            false => self.parser.push(&answer),
        };
        read.into_iter().for_each(|piece| self.flow.push(piece, &mut pieces));
        self.finished |= self.flow.stop_sequence().is_some();
        pieces
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
            Stage::Opening(follower) if follower.is_done() => self.stage = self.arguments()?,
            Stage::AfterCall(follower) if follower.is_done() && self.parser.name().is_some() => self.stage = self.arguments()?,
            Stage::Arguments(follower, _) if follower.is_done() => {
                self.calls += 1;
                let number = self.earlier_calls + self.calls;
                match self.rules.fill(number, |fill| grammars.after_call(tag, fill, last))? {
                    Some(follower) => self.stage = Stage::AfterCall(follower),
                    None => self.end_call(last),
                }
            }
            Stage::AfterCall(follower) if follower.is_done() => self.end_call(last),
            _ => {}
        }
        Ok(())
    }

    fn end_call(&mut self, last: bool) {
        self.stage = Stage::Text;
        self.finished |= last;
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
        if self.thinking.is_inside() {
            return vec![];
        }
        if self.rules.tools.is_empty() {
            return self.parts.grammars.open_tokens();
        }
        let tags = self.parts.format.tags().iter().zip(&self.parts.overshooting);
        tags.flat_map(|(tag, overshooting)| &overshooting[self.parser.opening_so_far(tag)]).copied().collect()
    }

    /// The grammar of a tool's arguments became too large on the way: goes on with that of any JSON object.
    fn loosen(&mut self, reason: &EngineError) -> Result<TokenMask, EngineError> {
        let Stage::Arguments(follower, tokens) = &mut self.stage else {
            return Err(EngineError::Device(reason.to_string()));
        };
        tracing::warn!("the rest of a tool call's arguments can be any JSON: {reason}");
        *follower = self.parts.grammars.any_arguments(self.parser.tag())?;
        tokens.iter().try_for_each(|token| follower.push(*token))?;
        follower.mask()
    }
}

#[cfg(test)]
mod tests;
