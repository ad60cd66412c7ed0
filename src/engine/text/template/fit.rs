//! Finds a template's traits by rendering small trial conversations when the model is loaded.

use serde_json::{Map, json};

use crate::engine::text::call_ids;
use crate::engine::text::messages::{Call, TemplateMessage, ToolResult, Turn};
use crate::engine::text::template_traits::{
    ArgumentShape, Calls, Descriptions, LateSystem, Results, SystemPrompt, TemplateTraits, TextBeforeCalls, ThoughtsBeforeCalls,
    TurnOrder,
};
use crate::wire::Tool;

/// A trial conversation, and the facts that its prompt must contain, in this order.
pub(super) struct Trial {
    pub messages: Vec<TemplateMessage>,
    pub tools: Vec<Tool>,
    facts: Vec<&'static str>,
}

/// Renders a trial in the shape of some traits; `None` if the template refuses it.
type Render<'a> = dyn Fn(&Trial, &TemplateTraits) -> Option<String> + 'a;

/// Chooses the traits with which prompts show the most facts; among equals, the usual ones.
pub(super) fn fit(render: &Render) -> TemplateTraits {
    let usual = TemplateTraits::default();
    let talking = best(&turn_taking(usual), &conversations(), render);
    let calling = best(&call_shapes(talking), &conversations_with_calls(), render);
    let calling = within_turns(calling, render);
    best(&[calling, TemplateTraits { descriptions: Descriptions::Always, ..calling }], &[undescribed_tool()], render)
}

/// Where a template takes text and calls only in separate messages, improves the `found` way to pass them. Only ways whose prompts
/// show at least as many facts as the found one's are considered. Best is a way that puts the call in a turn of the model; then
/// one that shows the thoughts; then one that shows them before the text. If nothing is better than the found way, it stays.
fn within_turns(found: TemplateTraits, render: &Render) -> TemplateTraits {
    let roles = match found.said {
        TextBeforeCalls::Beside => return found,
        TextBeforeCalls::Apart => vec![TextBeforeCalls::Apart, TextBeforeCalls::ApartAsModel],
        other => vec![other],
    };
    let thoughts = [ThoughtsBeforeCalls::WithText, ThoughtsBeforeCalls::WithCalls];
    let shown_by = |traits: &TemplateTraits| points(traits, &conversations_with_calls(), render);
    let shown_as_found = shown_by(&found);
    let candidates = roles.into_iter().flat_map(|said| thoughts.map(|thoughts| TemplateTraits { said, thoughts, ..found }));
    let candidates = candidates.filter(|traits| shown_by(traits) >= shown_as_found);
    let score = |traits: &TemplateTraits| {
        let thinking = render(&trial_with_call(vec![thought("Gum.", called("Birch.", &[1])), result(1)], &[]), traits);
        let thought = thinking.as_deref().and_then(|prompt| prompt.split_once("Gum."));
        (calls_in_turn(traits, render), thought.is_some(), thought.is_some_and(|(_, after)| after.contains("Birch.")))
    };
    let scored = candidates.map(|traits| (score(&traits), traits));
    scored.reduce(|best, other| if other.0 > best.0 { other } else { best }).map_or(found, |(_, traits)| traits)
}

/// Whether text and the call after it are in turns of the model: both in one, or the call in another that is opened for it as for
/// a call alone.
fn calls_in_turn(traits: &TemplateTraits, render: &Render) -> bool {
    let rendered = |messages| render(&trial_with_call(messages, &[]), traits);
    let after_asking = |messages, end: &str| Some(rendered(messages)?.split_once("Ash?")?.1.split_once(end)?.0.to_owned());
    let in_turn = || {
        let opening = after_asking(vec![said("Cedar."), user("Elm?")], "Cedar.")?;
        let opened_call = after_asking(vec![called("", &[1]), result(1)], "oak 1")?;
        let both = after_asking(vec![called("Birch.", &[1]), result(1)], "oak 1")?;
        let call = both.strip_prefix(&opening)?.strip_prefix("Birch.")?;
        Some(call == opened_call || opened_call.strip_prefix(&opening) == Some(call))
    };
    in_turn().unwrap_or(false)
}

/// The candidate whose prompts show the most; of equally good ones, the first.
fn best(candidates: &[TemplateTraits], trials: &[Trial], render: &Render) -> TemplateTraits {
    let everything: usize = trials.iter().map(|trial| 1 + trial.facts.len()).sum();
    let (mut best, mut most) = (TemplateTraits::default(), None);
    for candidate in candidates {
        let shows = points(candidate, trials, render);
        if most.is_none_or(|most| shows > most) {
            (best, most) = (*candidate, Some(shows));
        }
        if shows == everything {
            break;
        }
    }
    best
}

/// One point for each trial that is accepted at all, and one for each fact shown.
fn points(traits: &TemplateTraits, trials: &[Trial], render: &Render) -> usize {
    let of_trial = |trial: &Trial| render(trial, traits).map_or(0, |prompt| 1 + shown(&prompt, &trial.facts));
    trials.iter().map(of_trial).sum()
}

/// How many of the facts the prompt contains, in order.
fn shown(mut prompt: &str, facts: &[&str]) -> usize {
    let mut shown = 0;
    for fact in facts {
        if let Some(at) = prompt.find(fact) {
            prompt = &prompt[at + fact.len()..];
            shown += 1;
        }
    }
    shown
}

/// All combinations of the traits that concern roles and their order, those closest to the defaults first.
fn turn_taking(usual: TemplateTraits) -> Vec<TemplateTraits> {
    let mut all = Vec::new();
    for system in [SystemPrompt::Own, SystemPrompt::InFirstUser] {
        for turns in [TurnOrder::Any, TurnOrder::Alternate] {
            for late_system in [LateSystem::AsSystem, LateSystem::AsUser] {
                all.push(TemplateTraits { system, turns, late_system, ..usual });
            }
        }
    }
    all.sort_by_key(TemplateTraits::distance);
    all
}

/// All combinations of the traits that concern calls, those closest to the defaults first.
fn call_shapes(talking: TemplateTraits) -> Vec<TemplateTraits> {
    let mut all = Vec::new();
    for calls in [Calls::Together, Calls::OneByOne] {
        for arguments in [ArgumentShape::Mapping, ArgumentShape::Json] {
            for said in [TextBeforeCalls::Beside, TextBeforeCalls::Apart, TextBeforeCalls::ApartFromNone] {
                for results in [Results::Tool, Results::User] {
                    all.push(TemplateTraits { calls, arguments, said, results, ..talking });
                }
            }
        }
    }
    all.sort_by_key(TemplateTraits::distance);
    all
}

fn conversations() -> Vec<Trial> {
    let trial = |messages: Vec<TemplateMessage>, facts: &[&'static str]| Trial { messages, tools: vec![], facts: facts.to_vec() };
    vec![
        trial(vec![system("Ash is grey."), user("Birch?")], &["Ash is grey.", "Birch?"]),
        trial(vec![user("Ash?"), user("Birch?")], &["Ash?", "Birch?"]),
        trial(vec![user("Ash?"), system("Birch is white.")], &["Ash?", "Birch is white."]),
        trial(
            vec![system("Ash is grey."), user("Birch?"), said("Cedar."), system("Elm is late."), user("Fir?")],
            &["Birch?", "Cedar.", "Elm is late.", "Fir?"],
        ),
    ]
}

fn conversations_with_calls() -> Vec<Trial> {
    let trial = trial_with_call;
    vec![
        trial(vec![called("Birch.", &[1]), result(1)], &["Birch.", "oak 1", "pine 1"]),
        trial(vec![thought("Gum.", called("Birch.", &[1])), result(1)], &["Birch.", "oak 1", "pine 1"]),
        // Templates may leave out the text before calls in earlier turns, so it is not required here.
        trial(vec![called("Birch.", &[1]), result(1), said("Cedar."), user("Elm?")], &["oak 1", "pine 1", "Cedar.", "Elm?"]),
        trial(
            vec![called("", &[1, 2]), result(1), result(2), called("Birch.", &[3]), result(3)],
            &["oak 1", "oak 2", "pine 2", "Birch.", "oak 3", "pine 3"],
        ),
        trial(vec![called("", &[1]), result(1), user("Cedar?")], &["oak 1", "pine 1", "Cedar?"]),
        trial(vec![called("", &[1]), result(1), system("Elm is late.")], &["oak 1", "pine 1", "Elm is late."]),
    ]
}

/// A conversation with a tool, from the user's question on.
fn trial_with_call(messages: Vec<TemplateMessage>, facts: &[&'static str]) -> Trial {
    Trial {
        messages: [vec![user("Ash?")], messages].concat(),
        tools: vec![tool(Some("Finds trees."))],
        facts: [&["Ash?"], facts].concat(),
    }
}

fn undescribed_tool() -> Trial {
    Trial { messages: vec![user("Ash?")], tools: vec![tool(None)], facts: vec!["find_tree", "Ash?"] }
}

fn system(text: &str) -> TemplateMessage {
    TemplateMessage::System(text.into())
}

fn user(text: &str) -> TemplateMessage {
    TemplateMessage::User(text.into())
}

fn said(text: &str) -> TemplateMessage {
    called(text, &[])
}

fn called(text: &str, calls: &[usize]) -> TemplateMessage {
    let call = |number: &usize| Call {
        id: call_ids::of_number(*number),
        name: "find_tree".into(),
        input: json!({"tree": format!("oak {number}"), "age": 3}),
    };
    TemplateMessage::Assistant(Turn { text: text.into(), calls: calls.iter().map(call).collect(), ..Turn::default() })
}

/// The turn, with a thought. Templates may leave thoughts out.
fn thought(text: &str, turn: TemplateMessage) -> TemplateMessage {
    match turn {
        TemplateMessage::Assistant(turn) => TemplateMessage::Assistant(Turn { reasoning: text.into(), ..turn }),
        other => other,
    }
}

fn result(number: usize) -> TemplateMessage {
    let (call_id, name) = (call_ids::of_number(number), Some("find_tree".into()));
    TemplateMessage::Result(ToolResult { call_id, name, text: format!("pine {number}") })
}

fn tool(description: Option<&str>) -> Tool {
    Tool {
        name: "find_tree".into(),
        description: description.map(str::to_owned),
        input_schema: json!({"type": "object", "properties": {"tree": {"type": "string", "description": "Which."}, "age": {"type": "integer"}},
                             "required": ["tree"]}),
        extra: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::text::{ChatTemplate, Tokenizer, tiny_model};

    /// What the template writes after the question, where the model thought, spoke and called a tool.
    fn turn(template: &str) -> String {
        let template = ChatTemplate::fixture(template, &Tokenizer::load(&tiny_model()).unwrap());
        let body = json!({"model": "m", "max_tokens": 9, "thinking": {"type": "adaptive"}, "messages": [
            {"role": "user", "content": "Ash?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Gum.", "signature": "s"}, {"type": "text", "text": "Birch."},
                {"type": "tool_use", "id": "t", "name": "find_tree", "input": {"tree": "oak"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "pine"}]}]});
        let prompt = template.render(&serde_json::from_value(body).unwrap()).unwrap();
        prompt.split_once("Ash?").unwrap().1.to_owned()
    }

    #[test]
    fn calls_after_text_are_in_a_turn_of_the_model() {
        let call = "<|tool_call>call:find_tree{tree:<|\"|>oak<|\"|>}<tool_call|>";
        let result = "<|tool_response>response:find_tree{value:<|\"|>pine<|\"|>}<tool_response|>";
        assert_eq!(
            turn("calls-in-marks"),
            format!("<turn|>\n<|turn>model\nBirch.<turn|>\n<|turn>model\n<|channel>thought\nGum.\n<channel|>{call}{result}")
        );
        assert_eq!(
            turn("calls-in-marks-in-one-turn"),
            format!("<turn|>\n<|turn>model\n<|channel>thought\nGum.\n<channel|>Birch.{call}{result}<|channel>thought\n")
        );
    }

    #[test]
    fn thoughts_before_text_and_a_call_are_shown() {
        let turn = turn("messages-in-channels");
        assert!(shown(&turn, &["Birch.", "analysis<|message|>Gum.", "to=functions.find_tree"]) == 3, "{turn}");
    }
}
