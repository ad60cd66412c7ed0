//! The grammars of one model, each compiled when it is first asked for, and kept.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::call_form::{CallForm, Part};
use super::compiler::{Compiler, on_a_deep_stack};
use super::fault::{self, Fault};
use super::follower::Grammar;
use super::grammar::{self, Fill, Vocabulary};
use super::grammar_cache::GrammarCache;
use super::held_to::HeldTo;
use super::json_schema;
use super::limits::Limits;
use super::schema_cost;
use super::schema_parts::shown;
use super::tool_format::ToolFormat;
use crate::engine::EngineError;
use crate::engine::text::Tokenizer;
use crate::wire::{OutputFormat, Tool};

/// Most parts of an unusable schema that are tried alone, so that the error can name the one at fault.
const MOST_PARTS_TRIED: usize = 100;

/// For grammars without a tool call.
const NO_CALL: Fill = Fill { names: &[], ids: [""; 2] };

/// What a grammar of the text around a call's arguments stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Opening {
    /// A whole call up to where its arguments begin: opening tag, then the name of one of the tools.
    Call,
    /// The same for a call whose opening tag, that of this index in the format, has been generated.
    RestOfCall(usize),
    /// What follows a finished call in a list: the end of the list or the next call up to its arguments.
    AfterCall(usize),
    /// What follows the last call allowed in a list: the end of the list.
    AfterLastCall(usize),
    /// What may follow a call in an answer with an output format: another call up to its arguments, or the end of the answer.
    CallOrEnd,
}

/// The grammars of one model: tool calls in its format, and schemas, over its vocabulary.
pub(super) struct Grammars {
    compiler: Compiler,
    tokenizer: Arc<Tokenizer>,
    format: Arc<dyn ToolFormat>,
    cache: GrammarCache,
    /// By tag: a call from its arguments to its end, where the arguments may be any JSON object.
    any_arguments: Vec<HeldTo>,
}

impl Grammars {
    /// Prepares the vocabulary, whose answers end with one of these tokens; grammars are compiled when first needed.
    ///
    /// # Errors
    /// llguidance refuses the vocabulary, or a grammar of calls in this format.
    pub(super) fn new(
        tokenizer: Arc<Tokenizer>,
        format: Arc<dyn ToolFormat>,
        ends: &[u32],
        limits: &Limits,
    ) -> Result<Self, EngineError> {
        let compiler = Compiler::new(&tokenizer, ends, limits.parser.clone())?;
        let cache = GrammarCache::new(limits.kept_bytes);
        let mut grammars = Self { compiler, tokenizer, format, cache, any_arguments: vec![] };
        let budget = Budget::new(CancellationToken::new(), usize::MAX);
        let any = |tag| grammars.compile_schema(tag, json_schema::any_object(), &budget).map_err(EngineError::Device);
        grammars.any_arguments = (0..grammars.tags()).map(any).collect::<Result<_, _>>()?;
        Ok(grammars)
    }

    /// The number of tags that open calls in the model's format.
    pub(super) fn tags(&self) -> usize {
        self.format.tags().len()
    }

    /// The added tokens that open a call. Empty if the vocabulary has none and tags are spelled with ordinary tokens.
    pub(super) fn open_tokens(&self) -> Vec<u32> {
        self.format.tags().iter().filter_map(|tag| self.tokenizer.added_token(&tag.words.concat())).collect()
    }

    /// All added tokens that are markup of calls: they never count as text.
    pub(super) fn markup(&self) -> Vec<u32> {
        let forms: Vec<CallForm> = (0..self.tags()).map(|tag| self.format.form(tag)).collect();
        let markup = forms.iter().flat_map(CallForm::parts).filter_map(|part| match part {
            Part::Markup(text) => self.tokenizer.added_token(text),
            _ => None,
        });
        markup.chain(self.open_tokens()).collect()
    }

    /// What the grammar of an opening depends on, as a text.
    pub(super) fn name_of(&self, opening: Opening, fill: &Fill) -> String {
        format!("{opening:?} {}", filled(&self.form_of(opening), fill))
    }

    /// The grammar of an opening; `None` for what follows a call in formats without lists of calls.
    ///
    /// # Errors
    /// The names are too many or too long for a grammar, or the budget is at its end.
    pub(super) fn opening(&self, opening: Opening, fill: &Fill, budget: &Budget) -> Result<Option<HeldTo>, EngineError> {
        let (form, vocabulary) = (self.form_of(opening), Vocabulary(&self.tokenizer));
        let grammar = match opening {
            Opening::Call => Some(grammar::whole_opening(&form, fill, &vocabulary)),
            Opening::RestOfCall(_) => Some(grammar::rest_of_opening(&form, fill, &vocabulary)),
            Opening::AfterCall(_) => grammar::after_call(&form, fill, false, &vocabulary),
            Opening::AfterLastCall(_) => grammar::after_call(&form, fill, true, &vocabulary),
            Opening::CallOrEnd => Some(grammar::answer(None, &[], &form, fill, &vocabulary)),
        };
        let held = |grammar| {
            self.kept(&self.name_of(opening, fill), budget, || {
                let refused = |error| EngineError::Request(format!("the tools' names cannot be made a grammar: {error}"));
                self.compiler.compile(grammar, budget).map(HeldTo::entirely).map_err(refused)
            })
        };
        grammar.map(held).transpose()
    }

    fn form_of(&self, opening: Opening) -> CallForm {
        match opening {
            Opening::Call | Opening::CallOrEnd => self.forced_form(),
            Opening::RestOfCall(tag) | Opening::AfterCall(tag) | Opening::AfterLastCall(tag) => self.format.form(tag),
        }
    }

    /// The form in which calls are written wherever the grammar chooses the form.
    fn forced_form(&self) -> CallForm {
        self.format.form(self.format.forced_tag())
    }

    /// A call of this tool from its arguments to its end, with what was left out of the schema because it cannot be enforced. When
    /// it is compiled first, that is logged.
    ///
    /// # Errors
    /// The budget is at its end.
    pub(super) fn arguments(&self, tag: usize, tool: &Tool, budget: &Budget) -> Result<HeldTo, EngineError> {
        self.kept(&format!("arguments {tag} {}", tool.input_schema), budget, || {
            let held = self.try_arguments(tag, tool, budget);
            let held = held.unwrap_or_else(|reason| self.any_arguments(tag).instead_of_schema(&reason));
            // What stopped is asked for once more, and is not logged twice.
            if !held.not_enforced().is_empty() && budget.stopped().is_none() {
                tracing::warn!(tool = tool.name, "arguments are not held to: {}", held.not_enforced().join("; "));
            }
            Ok(held)
        })
    }

    /// A call from its arguments to its end, where the arguments may be any JSON object.
    pub(super) fn any_arguments(&self, tag: usize) -> &HeldTo {
        &self.any_arguments[tag]
    }

    /// Checks that the schema of a `strict` tool can be enforced in full. `field` is its path in the request, for the error.
    ///
    /// # Errors
    /// Names the innermost part of the schema that cannot be enforced; or the budget is at its end.
    pub(super) fn check_strict(&self, tool: &Tool, field: &str, budget: &Budget) -> Result<(), EngineError> {
        let Err(reason) = self.arguments(0, tool, budget)?.in_full() else { return Ok(()) };
        let checked = self.kept(&format!("strict {field} {}", tool.input_schema), budget, || {
            let fault = |part: &Value| self.try_output(part, &NO_CALL, budget).and_then(HeldTo::in_full).err();
            Err(refused(field, &tool.input_schema, reason, &fault))
        });
        checked.map(drop)
    }

    fn try_arguments(&self, tag: usize, tool: &Tool, budget: &Budget) -> Result<HeldTo, String> {
        // Finding out what compiles ends with the schema that is used: it need not be compiled again.
        let latest = RefCell::new(None);
        let compiles = |schema: &Value| {
            let compiled = self.compile_schema(tag, schema.clone(), budget);
            let outcome = compiled.as_ref().map(drop).map_err(Clone::clone);
            latest.replace(compiled.ok().map(|held| (schema.clone(), held)));
            outcome
        };
        let (schema, left_out) = json_schema::prepare_arguments(tool, &compiles);
        let held = match latest.into_inner() {
            Some((compiled, held)) if compiled == schema => held,
            _ => self.compile_schema(tag, schema, budget)?,
        };
        Ok(held.after_leaving_out(left_out))
    }

    /// The whole answer to a request with an output format: a JSON value of its schema, or a tool call up to its arguments.
    ///
    /// # Errors
    /// The schema does not compile, or must be enforced in full and cannot be: the error names the innermost part at fault. Or the
    /// budget is at its end.
    pub(super) fn output(&self, format: &OutputFormat, fill: &Fill, budget: &Budget) -> Result<HeldTo, EngineError> {
        let OutputFormat { schema, field, .. } = format;
        let attempt = |schema: &Value, fill: &Fill| {
            let held = self.try_output(schema, fill, budget)?;
            if format.in_full() { held.in_full() } else { Ok(held) }
        };
        let what = format!("output {} {field} {} {schema}", format.in_full(), filled(&self.forced_form(), fill));
        self.kept(&what, budget, || {
            let field = format!("{field}.schema");
            let held =
                attempt(schema, fill).map_err(|reason| refused(&field, schema, reason, &|part| attempt(part, &NO_CALL).err()))?;
            // The first mask builds most of the automaton: if that is too large, refuse now and not in mid-answer.
            let too_large = |reason| EngineError::Request(format!("{field}: too large for a grammar: {reason}"));
            held.follow().mask().map_err(too_large)?;
            if !held.not_enforced().is_empty() {
                tracing::warn!("{field}: the answer is not held to: {}", held.not_enforced().join("; "));
            }
            Ok(held)
        })
    }

    fn try_output(&self, schema: &Value, fill: &Fill, budget: &Budget) -> Result<HeldTo, String> {
        let compiles = |schema: &Value| self.compile_answer(schema, &NO_CALL, budget).map(drop);
        let (schema, left_out) = json_schema::prepare(schema.clone(), &compiles);
        Ok(HeldTo::except(left_out, self.compile_answer(&schema, fill, budget)?))
    }

    fn compile_answer(&self, schema: &Value, fill: &Fill, budget: &Budget) -> Result<Grammar, String> {
        within_bounds(schema)?;
        let schema = json_schema::with_options(schema.clone());
        let before = self.format.before_text();
        let grammar = grammar::answer(Some(&schema), &before, &self.forced_form(), fill, &Vocabulary(&self.tokenizer));
        self.compiler.compile(grammar, budget)
    }

    /// Grammar from arguments of this schema to the end of the call.
    fn compile_schema(&self, tag: usize, schema: Value, budget: &Budget) -> Result<HeldTo, String> {
        within_bounds(&schema)?;
        let schema = json_schema::with_options(schema);
        let vocabulary = Vocabulary(&self.tokenizer);
        let (grammar, left_out) = self.format.arguments_grammar(&self.format.form(tag), &schema, &vocabulary);
        Ok(HeldTo::except(left_out, self.compiler.compile(grammar, budget)?))
    }

    /// The grammar of which the text says all that it depends on, compiled on first use.
    fn kept(
        &self,
        what: &str,
        budget: &Budget,
        compile: impl FnOnce() -> Result<HeldTo, EngineError> + Send,
    ) -> Result<HeldTo, EngineError> {
        self.cache.get_or_make(what, || {
            let made = on_a_deep_stack(compile)?;
            // What was not tried to the end says nothing of the schema.
            budget.stopped().map_or(Ok(made), |stop| Err(stop.into()))
        })?
    }
}

/// Everything that varies between calls of this form, as a text.
fn filled(form: &CallForm, fill: &Fill) -> String {
    let ids = if form.parts().any(|part| matches!(part, Part::Id | Part::NextId)) { fill.ids } else { [""; 2] };
    format!("{} {}", ids.concat(), fill.names.join(" "))
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

#[cfg(test)]
impl Grammars {
    /// How many grammars were compiled so far.
    pub(super) fn compilations(&self) -> usize {
        self.compiler.compilations.load(std::sync::atomic::Ordering::Relaxed)
    }
}
