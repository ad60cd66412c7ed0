//! Conversations that a compaction block shortens: its summary stands for all that came before it.

use std::borrow::Cow;

use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, Role, Tool};

/// The request with its last compaction block's summary in place of everything before it. The summary opens the conversation as
/// the user's text. Changes that the dropped part made to the tools are made to the request's list. A block without a readable
/// summary stands for nothing.
pub(super) fn compacted(request: &MessagesRequest) -> Cow<'_, MessagesRequest> {
    let summaries = request.messages.iter().enumerate().flat_map(|(at, message)| {
        message.content.listed().iter().enumerate().filter_map(move |(index, block)| Some((at, index, summary(block)?)))
    });
    let Some((at, index, summary)) = summaries.last() else { return Cow::Borrowed(request) };
    let mut shorter = request.clone();
    let later = shorter.messages.split_off(at + 1);
    let rest = match shorter.messages.last_mut() {
        Some(InputMessage { content: Content::Blocks(blocks), .. }) => blocks.split_off(index + 1),
        _ => Vec::new(),
    };
    // `shorter` has only the messages up to the block now: those that the summary stands for.
    shorter.tools = tools_after(&shorter);
    let mut messages = vec![InputMessage::new(Role::User, Content::Blocks(vec![summary]))];
    messages.extend(
        shorter.messages.pop().filter(|_| !rest.is_empty()).map(|last| InputMessage { content: Content::Blocks(rest), ..last }),
    );
    messages.extend(later);
    shorter.messages = messages;
    Cow::Owned(shorter)
}

/// The summary of a compaction block, with its cache breakpoint.
fn summary(block: &ContentBlock) -> Option<ContentBlock> {
    let ContentBlock::Other(fields) = block else { return None };
    let text = fields.get("content").filter(|_| block.kind() == "compaction")?.as_str()?;
    let extra =
        fields.get_key_value("cache_control").map(|(name, control)| (name.clone(), control.clone())).into_iter().collect();
    (!text.is_empty()).then(|| ContentBlock::Text { text: text.to_owned(), logprobs: Vec::new(), extra })
}

/// The tools at the end of this part of a conversation. Those that it has found are not held back any more; those that it has
/// removed are, as they may come back.
fn tools_after(part: &MessagesRequest) -> Vec<Tool> {
    let held_back = |tool: &&Tool| tool.extra.get("defer_loading").is_some_and(|held| *held == true);
    let mut tools = part.after_tool_changes(part.tools.iter().filter(|tool| !held_back(tool)).cloned().collect());
    tools.iter_mut().for_each(|tool| drop(tool.extra.remove("defer_loading")));
    let mut others: Vec<Tool> =
        part.tools.iter().filter(|tool| tools.iter().all(|known| known.name != tool.name)).cloned().collect();
    others.iter_mut().for_each(|tool| drop(tool.extra.insert("defer_loading".into(), true.into())));
    [tools, others].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn after(messages: Value) -> (Value, Vec<String>) {
        let request = json!({"model": "m", "max_tokens": 1, "messages": messages,
            "tools": [{"name": "A"}, {"name": "B", "defer_loading": true}, {"name": "C", "defer_loading": true}]});
        let request = serde_json::from_value(request).unwrap();
        let compacted = compacted(&request).into_owned();
        let tools = compacted.tools.iter().map(|tool| {
            let held = if tool.extra.contains_key("defer_loading") { " held back" } else { "" };
            format!("{}{held}", tool.name)
        });
        (serde_json::to_value(&compacted.messages).unwrap(), tools.collect())
    }

    #[test]
    fn a_summary_stands_for_all_before_it() {
        let user = |text: &str| json!({"role": "user", "content": text});
        let text = |text: &str| json!({"type": "text", "text": text});
        let block = |content: Value| json!({"type": "compaction", "content": content});
        let assistant = |blocks: &[Value]| json!({"role": "assistant", "content": blocks});
        let (messages, _) = after(json!([
            user("a"),
            assistant(&[text("b"), block(json!("First.")), text("c")]),
            user("d"),
            assistant(&[block(json!("A, b, c, d.")), text("e")]),
            user("f")
        ]));
        let summary = |summary: &str| json!({"role": "user", "content": [text(summary)]});
        assert_eq!(messages, json!([summary("A, b, c, d."), assistant(&[text("e")]), user("f")]));
        let (messages, _) = after(json!([user("a"), assistant(&[block(json!("A."))]), user("b")]));
        assert_eq!(messages, json!([summary("A."), user("b")]));
        let mut marked = block(json!("A."));
        marked["cache_control"] = json!({"type": "ephemeral"});
        let (messages, _) = after(json!([user("a"), assistant(&[marked]), user("b")]));
        assert_eq!(messages[0]["content"][0]["cache_control"]["type"], "ephemeral");
        for unreadable in [json!(null), json!("")] {
            let whole = json!([user("a"), assistant(&[block(unreadable)]), user("b")]);
            assert_eq!(after(whole.clone()).0, whole);
        }
    }

    #[test]
    fn tools_stay_as_the_dropped_part_has_left_them() {
        let found = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
            "content": [{"type": "tool_reference", "tool_name": "B"}]}]});
        let removed =
            json!({"role": "system", "content": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "A"}}]});
        let summary = json!({"role": "assistant", "content": [{"type": "compaction", "content": "S"}]});
        let (_, tools) = after(json!([found, removed, summary, {"role": "user", "content": "b"}]));
        assert_eq!(tools, ["B", "A held back", "C held back"]);
    }
}
