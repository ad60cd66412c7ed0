//! Finds a template's traits by rendering small trial conversations when the model is loaded.

use serde_json::{Map, json};

use crate::engine::text::call_ids;
use crate::engine::text::messages::{Call, TemplateMessage, ToolResult, Turn};
use crate::engine::text::template_traits::{
    ArgumentShape, Calls, Descriptions, LateSystem, Results, SystemPrompt, TemplateTraits, TextBeforeCalls, TurnOrder,
};
use crate::wire::Tool;

/// A trial conversation, and the facts that its prompt must contain, in this order.
pub(super) struct Trial {
    pub messages: Vec<TemplateMessage>,
    pub tools: Vec<Tool>,
    facts: Vec<&'static str>,
}

/// Chooses the traits with which prompts show the most facts; among equals, the usual ones. `render` returns `None` if the
/// template refuses the conversation.
pub(super) fn fit(render: &dyn Fn(&Trial, &TemplateTraits) -> Option<String>) -> TemplateTraits {
    let usual = TemplateTraits::default();
    let talking = best(&turn_taking(usual), &conversations(), render);
    let calling = best(&call_shapes(talking), &conversations_with_calls(), render);
    best(&[calling, TemplateTraits { descriptions: Descriptions::Always, ..calling }], &[undescribed_tool()], render)
}

/// The candidate whose prompts show the most; of equally good ones, the first.
fn best(
    candidates: &[TemplateTraits],
    trials: &[Trial],
    render: &dyn Fn(&Trial, &TemplateTraits) -> Option<String>,
) -> TemplateTraits {
    let everything: usize = trials.iter().map(|trial| 1 + trial.facts.len()).sum();
    let (mut best, mut most) = (TemplateTraits::default(), None);
    for candidate in candidates {
        // One point for being accepted at all, and one for each fact shown.
        let points = |trial: &Trial| render(trial, candidate).map_or(0, |prompt| 1 + shown(&prompt, &trial.facts));
        let shows: usize = trials.iter().map(points).sum();
        if most.is_none_or(|most| shows > most) {
            (best, most) = (*candidate, Some(shows));
        }
        if shows == everything {
            break;
        }
    }
    best
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
    let trial = |messages: Vec<TemplateMessage>, facts: &[&'static str]| Trial {
        messages: [vec![user("Ash?")], messages].concat(),
        tools: vec![tool(Some("Finds trees."))],
        facts: [&["Ash?"], facts].concat(),
    };
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
