//! What the conversions from OpenAI's three protocols have in common.

use serde_json::{Map, Value};

use crate::wire::openai::StopSequences;
use crate::wire::{Content, InputMessage, Role};

/// Fields of the engine's sampler that OpenAI's clients use and Anthropic's API does not have. The engine reads them by these names.
pub const ENGINE_SAMPLING: [&str; 4] = ["seed", "min_p", "repetition_penalty", "presence_penalty"];

/// Takes `top_k`, which OpenAI does not have and many local servers do. For them 0 and -1 are no limit; for the engine 0 is.
///
/// # Errors
/// It is not a number of tokens.
pub(super) fn top_k(extra: &mut Map<String, Value>) -> Result<Option<u32>, String> {
    match extra.remove("top_k") {
        None | Some(Value::Null) => Ok(None),
        Some(given) if given == -1 => Ok(Some(0)),
        Some(given) => {
            let k = given.as_u64().and_then(|k| u32::try_from(k).ok());
            k.map(Some).ok_or_else(|| format!("top_k: {given} is not a number of tokens"))
        }
    }
}

/// The stop sequences, however they were given.
pub(super) fn stop_sequences(stop: Option<StopSequences>) -> Vec<String> {
    match stop {
        None => Vec::new(),
        Some(StopSequences::One(text)) => vec![text],
        Some(StopSequences::Many(texts)) => texts,
    }
}

/// Makes the last of the system texts the user's, if there is no message: OpenAI's clients may send instructions alone, and a Messages
/// request needs a turn to answer.
pub(super) fn turn_to_answer(system: &mut Vec<String>, messages: &mut Vec<InputMessage>) {
    if messages.is_empty()
        && let Some(text) = system.pop()
    {
        messages.push(InputMessage { role: Role::User, content: Content::Text(text) });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_limit_is_written_in_several_ways() {
        let read = |given: Value| top_k(&mut Map::from_iter([("top_k".to_owned(), given)]));
        assert_eq!([json!(null), json!(0), json!(-1), json!(7)].map(read), [Ok(None), Ok(Some(0)), Ok(Some(0)), Ok(Some(7))]);
        for wrong in [json!("many"), json!(1.5), json!(-2)] {
            assert_eq!(read(wrong.clone()), Err(format!("top_k: {wrong} is not a number of tokens")));
        }
        assert_eq!(top_k(&mut Map::new()), Ok(None));
    }
}
