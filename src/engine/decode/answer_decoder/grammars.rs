//! The grammars that one answer may need, made before it begins: the device's thread has no time to compile, and what the cache
//! forgets meanwhile does not matter to the answer.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::rules::Rules;
use crate::engine::EngineError;
use crate::engine::decode::budget::{Budget, Stop};
use crate::engine::decode::constraint::{Grammars, Opening};
use crate::engine::decode::follower::Follower;
use crate::engine::decode::grammar::Fill;
use crate::engine::decode::held_to::HeldTo;
use crate::engine::text::call_ids;
use crate::wire::{MessagesRequest, OutputFormat, Tool};

/// The grammars that the answer to one request may need.
pub struct AnswerGrammars {
    shared: Arc<Grammars>,
    /// By what they depend on. Where calls have ids, those of the answer's first call.
    openings: HashMap<String, Option<HeldTo>>,
    /// Each tool's name with its grammars by tag.
    arguments: Vec<(String, Vec<HeldTo>)>,
    output: Option<HeldTo>,
}

impl AnswerGrammars {
    /// Makes the grammars. A tool for which the budget does not suffice may be called with any arguments.
    ///
    /// # Errors
    /// The output format's schema is unusable; the schema of a strict tool or format cannot be enforced in full; the tools' names
    /// are too long for a grammar; or nobody wants the answer any more.
    pub(super) fn prepare(
        shared: Arc<Grammars>,
        request: &MessagesRequest,
        rules: &Rules,
        budget: &Budget,
    ) -> Result<Self, EngineError> {
        let output = output(&shared, request, rules, budget)?;
        let of_tool = |tool: &Tool| {
            let of_tags = (0..shared.tags()).map(|tag| arguments(&shared, tag, tool, budget)).collect::<Result<Vec<_>, _>>()?;
            Ok((tool.name.clone(), of_tags))
        };
        let arguments = rules.tools.iter().map(of_tool).collect::<Result<_, EngineError>>()?;
        let (mut openings, budget) = (HashMap::new(), budget.of_openings());
        for (opening, number) in needed(&shared, rules, output.is_some(), call_ids::count(request) + 1) {
            rules.fill(number, |fill| {
                openings.insert(shared.name_of(opening, fill), shared.opening(opening, fill, &budget)?);
                Ok::<_, EngineError>(())
            })?;
        }
        Ok(Self { shared, openings, arguments, output })
    }

    /// The schemas that the answer is held to only in part, each with what was left out.
    pub fn loosened(&self) -> Vec<String> {
        let of_tool = |(name, of_tags): &(String, Vec<HeldTo>)| {
            // Mostly the same is left out whichever tag opens a call.
            let mut loosened: Vec<String> = of_tags.iter().filter_map(|held| held.loosened(name)).collect();
            loosened.dedup();
            loosened
        };
        let mut loosened: Vec<String> = self.arguments.iter().flat_map(of_tool).collect();
        loosened.extend(self.output.as_ref().and_then(|held| held.loosened("output format")));
        loosened
    }

    /// What the answer's text is held to, if it is held to anything.
    pub(super) fn output(&self) -> Option<Follower> {
        self.output.as_ref().map(HeldTo::follow)
    }

    /// The grammar of an opening; `None` for what follows a call in formats without lists of calls.
    ///
    /// # Errors
    /// It is that of a later call, and does not compile.
    pub(super) fn opening(&self, opening: Opening, fill: &Fill) -> Result<Option<Follower>, EngineError> {
        let held = match self.openings.get(&self.shared.name_of(opening, fill)) {
            Some(prepared) => prepared.clone(),
            None => self.shared.opening(opening, fill, &Budget::new(CancellationToken::new(), 1))?,
        };
        Ok(held.as_ref().map(HeldTo::follow))
    }

    /// A call of this tool from its arguments to its end; `None` if the answer has no such tool.
    pub(super) fn arguments(&self, tag: usize, tool: &str) -> Option<Follower> {
        let (_, of_tags) = self.arguments.iter().find(|(name, _)| name == tool)?;
        of_tags.get(tag).map(HeldTo::follow)
    }

    /// The same where the arguments may be any JSON object.
    pub(super) fn any_arguments(&self, tag: usize) -> Follower {
        self.shared.any_arguments(tag).follow()
    }
}

/// Checks the schemas of strict tools, and makes the grammar that the answer's text is held to, if it is held to any.
pub(super) fn output(
    grammars: &Grammars,
    request: &MessagesRequest,
    rules: &Rules,
    budget: &Budget,
) -> Result<Option<HeldTo>, EngineError> {
    for tool in request.after_tool_changes(request.tools.clone()).iter().filter(|tool| tool.is_strict()) {
        // By name: the list may have lost tools on the way here, so an index would mislead.
        grammars.check_strict(tool, &format!("tools.{}.input_schema", tool.name), budget)?;
    }
    let output = OutputFormat::of(&request.extra).map_err(EngineError::Request)?;
    let next_call = call_ids::count(request) + 1;
    output.map(|format| rules.fill(next_call, |fill| grammars.output(&format, fill, budget))).transpose()
}

fn arguments(grammars: &Grammars, tag: usize, tool: &Tool, budget: &Budget) -> Result<HeldTo, EngineError> {
    grammars.arguments(tag, tool, budget).or_else(|error| match budget.stopped() {
        Some(stop @ Stop::Spent) if !tool.is_strict() => {
            tracing::warn!(tool = tool.name, "arguments are not held to its schema: {stop}");
            Ok(grammars.any_arguments(tag).instead_of_schema(&stop.to_string()))
        }
        _ => Err(error),
    })
}

/// The openings that an answer may need, each with the number of the call that it stands before.
fn needed(grammars: &Grammars, rules: &Rules, has_output: bool, first: usize) -> Vec<(Opening, usize)> {
    if rules.tools.is_empty() {
        return vec![];
    }
    let after = if rules.several { Opening::AfterCall } else { Opening::AfterLastCall };
    let of_tags = (0..grammars.tags()).flat_map(|tag| [Opening::RestOfCall(tag), after(tag)]);
    let of_tags = of_tags.map(|opening| (opening, first));
    let forced = rules.must_call.then_some((Opening::Call, first));
    let after_output = has_output.then_some((Opening::CallOrEnd, first + 1));
    of_tags.chain(forced).chain(after_output).collect()
}
