//! One answer being generated: follows the tokens, says which may come next, gives what they add.

use std::sync::Arc;

use super::Piece;
use super::constraint::{Follower, Grammars, TokenMask};
use super::form::Tag;
use super::formats::ToolFormat;
use super::grammar::Fill;
use super::parser::Parser;
use super::text_flow::TextFlow;
use super::thinking::{self, Split, Thinking};
use crate::engine::EngineError;
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

    /// The decoder of the answer to this request. `thinks`: the prompt ends with an opening tag of thoughts.
    ///
    /// # Errors
    /// `tool_choice` asks for a tool that the request does not have.
    pub fn start(&self, request: &MessagesRequest, thinks: bool) -> Result<AnswerDecoder, EngineError> {
        let rules = Rules::of(request)?;
        let parts = self.parts.clone();
        let earlier_calls = call_ids::count(request);
        let stage = match rules.must_call {
            true => Stage::Opening(rules.fill(earlier_calls + 1, |fill| parts.grammars.call(fill))?),
            false => Stage::Text,
        };
        let mut markup = parts.grammars.markup();
        markup.extend([thinking::OPEN, thinking::CLOSE].iter().filter_map(|tag| parts.tokenizer.added_token(tag)));
        Ok(AnswerDecoder {
            detokenizer: Detokenizer::new(parts.tokenizer.clone(), markup),
            // A forced call comes at once.
            thinking: Thinking::new(thinks && !rules.must_call),
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
mod tests {
    use super::super::{ToolFormatName, joined};
    use super::*;
    use crate::engine::text::tiny_model;
    use serde_json::{Value, json};
    use std::sync::LazyLock;

    static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Tokenizer::load(&tiny_model()).unwrap());
    static DECODERS: LazyLock<AnswerDecoders> =
        LazyLock::new(|| AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Hermes.format()).unwrap());

    const OPEN: &str = "<tool_call>";
    const CALL: &str = "<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"file_path\": \"a\"}}\n</tool_call>";

    fn start(more: Value) -> Result<AnswerDecoder, EngineError> {
        let schema = json!({"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"], "additionalProperties": false});
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [],
            "tools": [{"name": "Read", "input_schema": schema}, {"name": "ReadAll", "input_schema": schema}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        DECODERS.start(&serde_json::from_value(body).unwrap(), false)
    }

    /// Pushes the text's tokens, each checked against the mask.
    fn push(decoder: &mut AnswerDecoder, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for token in TOKENIZER.encode(text).unwrap() {
            let allowed = decoder.mask().unwrap().is_none_or(|mask| mask.allows(token));
            assert!(allowed, "{:?} after {pieces:?}", String::from_utf8_lossy(TOKENIZER.bytes(token)));
            pieces.extend(decoder.push(token).unwrap());
        }
        joined(pieces)
    }

    /// What may come next, as texts; empty when anything may.
    fn next(decoder: &mut AnswerDecoder) -> Vec<String> {
        let mask = decoder.mask().unwrap();
        mask.iter().flat_map(TokenMask::iter).map(|token| String::from_utf8_lossy(TOKENIZER.bytes(token)).into_owned()).collect()
    }

    fn call(input: &str) -> [Piece; 3] {
        [Piece::ToolStart { name: "Read".into() }, Piece::ToolInput(input.into()), Piece::ToolEnd]
    }

    #[test]
    fn decoders_go_between_threads() {
        fn shared<T: Send + Sync>() {}
        fn sent<T: Send>() {}
        shared::<(AnswerDecoders, Tokenizer, crate::engine::text::ChatTemplate)>();
        sent::<(AnswerDecoder, TokenMask)>();
    }

    #[test]
    fn text_and_calls_come_in_order() {
        let mut decoder = start(json!({})).unwrap();
        let pieces = push(&mut decoder, &format!("Let me look.\n{CALL}\n{CALL}\nDone."));
        let [a, b, c] = call(r#"{"file_path": "a"}"#);
        let all = [Piece::Text("Let me look.".into()), a.clone(), b.clone(), c.clone(), a, b, c, Piece::Text("Done.".into())];
        assert_eq!(pieces, all);
        assert!(decoder.called_tool() && !decoder.is_finished());
        assert_eq!(decoder.push(TOKENIZER.eos_tokens()[0]).unwrap(), []);
        assert!(decoder.is_finished());
    }

    #[test]
    fn a_call_spelled_out_in_text_is_held_to_the_grammar_too() {
        let mut decoder = start(json!({})).unwrap();
        let spelled: Vec<u32> = ["<", "tool", "_", "call"].iter().flat_map(|text| TOKENIZER.encode(text).unwrap()).collect();
        for token in spelled {
            assert_eq!(decoder.push(token).unwrap(), []);
        }
        let past = TOKENIZER.encode(">\n").unwrap();
        assert!(past.len() == 1 && !decoder.mask().unwrap().unwrap().allows(past[0]), "the token goes past the tag");
        assert_eq!(push(&mut decoder, ">"), []);
        assert_eq!(next(&mut decoder), ["\n", "\n{"].map(str::to_owned)[..next(&mut decoder).len()].to_vec());
        let [a, b, c] = call(r#"{"file_path": "a"}"#);
        assert_eq!(push(&mut decoder, CALL.strip_prefix(OPEN).unwrap()), [a, b, c]);
    }

    #[test]
    fn only_known_names_and_valid_arguments_can_follow_and_no_end_inside_a_call() {
        let mut decoder = start(json!({})).unwrap();
        push(&mut decoder, "<tool_call>\n{\"name\": \"Read");
        let after_name = next(&mut decoder);
        assert!(after_name.iter().all(|text| text.starts_with('"') || text.starts_with('A')), "{after_name:?}");
        push(&mut decoder, "\", \"arguments\": {\"");
        let keys = next(&mut decoder);
        assert!(keys.iter().all(|text| "file_path".starts_with(text.as_str()) || text.starts_with("file_path")), "{keys:?}");
        push(&mut decoder, "file_path\": \"x");
        let mask = decoder.mask().unwrap().unwrap();
        assert!(!TOKENIZER.eos_tokens().iter().any(|token| mask.allows(*token)));
        assert!(!mask.allows(u32::MAX));
    }

    #[test]
    fn a_forced_choice_opens_a_call_at_once() {
        for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "ReadAll"})] {
            let mut decoder = start(json!({"tool_choice": choice})).unwrap();
            assert_eq!(next(&mut decoder), ["<tool_call>"]);
        }
        let mut decoder = start(json!({"tool_choice": {"type": "tool", "name": "ReadAll"}})).unwrap();
        push(&mut decoder, "<tool_call>\n{\"name\": \"");
        let names = next(&mut decoder);
        assert!(names.iter().all(|text| "ReadAll\",".starts_with(text.as_str())), "{names:?}");
    }

    #[test]
    fn choice_none_forbids_calls_however_they_are_written() {
        let mut decoder = start(json!({"tool_choice": {"type": "none"}})).unwrap();
        let open = TOKENIZER.added_token(OPEN).unwrap();
        assert!(!decoder.mask().unwrap().unwrap().allows(open));
        assert!(decoder.push(open).is_err());
        let spelled: Vec<u32> =
            ["<", "tool", "_", "call", ">", "\n{"].iter().flat_map(|text| TOKENIZER.encode(text).unwrap()).collect();
        let pieces: Vec<Piece> = spelled.into_iter().flat_map(|token| decoder.push(token).unwrap()).collect();
        assert_eq!(joined(pieces), [Piece::Text("<tool_call>\n{".into())]);
    }

    #[test]
    fn without_parallel_calls_one_call_finishes_the_answer() {
        let mut decoder = start(json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})).unwrap();
        push(&mut decoder, CALL);
        assert!(decoder.is_finished() && decoder.called_tool());
        assert_eq!(next(&mut decoder), ["<|endoftext|>", "<|im_end|>"]);
    }

    #[test]
    fn a_tool_choice_that_cannot_be_met_is_refused() {
        let refusal = |more| start(more).err().unwrap().to_string();
        assert_eq!(
            refusal(json!({"tool_choice": {"type": "tool", "name": "Write"}})),
            "tool_choice names the tool \"Write\", which is not among the tools that can be called"
        );
        let deferred = json!([{"name": "Write", "defer_loading": true}]);
        assert_eq!(
            refusal(json!({"tool_choice": {"type": "tool", "name": "Write"}, "tools": deferred})),
            "tool_choice names the tool \"Write\", which is not among the tools that can be called"
        );
        assert_eq!(
            refusal(json!({"tool_choice": {"type": "any"}, "tools": []})),
            "tool_choice asks for a tool call, but the request has no tools"
        );
    }

    #[test]
    fn a_call_that_is_cut_stays_open_and_nothing_is_added_to_it() {
        let cut = |text: &str| {
            let mut decoder = start(json!({})).unwrap();
            let mut pieces = push(&mut decoder, text);
            pieces.extend(decoder.finish());
            joined(pieces)
        };
        let opened = |input: &str| vec![Piece::ToolStart { name: "Read".into() }, Piece::ToolInput(input.into())];
        let head = "<tool_call>\n{\"name\": \"Read\", \"arguments\": ";
        assert_eq!(cut(&format!("{head}{{\"file_path\": \"src/ma")), opened("{\"file_path\": \"src/ma"));
        assert_eq!(cut(&format!("{head}{{\"file_path\": \"src\"")), opened("{\"file_path\": \"src\""));
        // The model has ended the arguments: only the markup after them is missing.
        assert_eq!(cut(&format!("{head}{{\"file_path\": \"a\"}}")), call(r#"{"file_path": "a"}"#));
        // A call without any argument yet would look finished to clients.
        for before_arguments in ["<tool_call>", "<tool_call>\n{\"name\": \"Re", head] {
            assert_eq!(cut(&format!("Look.\n{before_arguments}")), [Piece::Text("Look.".into())]);
        }
        assert_eq!(cut("text <tool"), [Piece::Text("text <tool".into())]);
    }

    #[test]
    fn thoughts_are_shown_where_they_are_asked_for_and_hold_no_calls() {
        let answer = format!("<think>\nA call would be {CALL}.\n</think>\n\nLook.\n{CALL}");
        let [a, b, c] = call(r#"{"file_path": "a"}"#);
        let rest = [Piece::Text("Look.".into()), a, b, c];
        for (thinking, shown) in [
            (json!({}), false),
            (json!({"type": "disabled"}), false),
            (json!({"type": "adaptive", "display": "omitted"}), false),
            (json!({"type": "adaptive"}), true),
            (json!({"type": "enabled", "budget_tokens": 1024, "display": "summarized"}), true),
        ] {
            let mut decoder = start(json!({"thinking": thinking})).unwrap();
            let pieces = push(&mut decoder, &answer);
            let thought = shown.then(|| Piece::Thinking(format!("A call would be {CALL}.")));
            assert_eq!(pieces, thought.into_iter().chain(rest.clone()).collect::<Vec<_>>(), "{thinking}");
        }
    }

    #[test]
    fn thoughts_that_the_prompt_opened_end_at_their_tag_or_with_the_answer() {
        let request = json!({"model": "m", "max_tokens": 1, "messages": [], "thinking": {"type": "adaptive"}});
        let request = serde_json::from_value(request).unwrap();
        let mut decoder = DECODERS.start(&request, true).unwrap();
        let pieces = push(&mut decoder, "hm <tool_call>\n</think>\n\nHi.");
        assert_eq!(pieces, [Piece::Thinking("hm <tool_call>".into()), Piece::Text("Hi.".into())]);
        let mut decoder = DECODERS.start(&request, true).unwrap();
        let mut pieces = push(&mut decoder, "hm </thi");
        pieces.extend(decoder.finish());
        assert_eq!(joined(pieces), [Piece::Thinking("hm </thi".into())]);
    }

    #[test]
    fn a_stop_sequence_finishes_the_answer() {
        let mut decoder = start(json!({"stop_sequences": ["\n\nHuman:"]})).unwrap();
        assert_eq!(push(&mut decoder, "Hi.\n\nHuman:"), [Piece::Text("Hi.".into())]);
        assert_eq!((decoder.is_finished(), decoder.stop_sequence()), (true, Some("\n\nHuman:")));
        assert_eq!((decoder.push(TOKENIZER.encode("x").unwrap()[0]).unwrap(), decoder.finish()), (vec![], vec![]));
    }

    #[test]
    fn half_a_character_and_half_a_tag_are_given_at_the_end() {
        let mut decoder = start(json!({})).unwrap();
        let mut pieces = push(&mut decoder, "é <tool");
        pieces.extend(decoder.push(TOKENIZER.encode("é").unwrap()[0]).unwrap());
        pieces.extend(decoder.finish());
        let text = joined(pieces);
        assert!(matches!(&text[..], [Piece::Text(text)] if text.starts_with("é <tool")), "{text:?}");
    }
}
