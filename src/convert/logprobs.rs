//! Log-probabilities: how OpenAI's protocols ask for them, and how they give them.

use serde_json::{Map, Value};

use crate::wire::openai::{ChoiceLogprobs, CompletionLogprobs};
use crate::wire::{TokenLogprob, TopLogprobs};

/// Most of the likeliest tokens that a chat or Responses request may ask for, as at OpenAI.
const MOST: usize = 20;

/// The same for a request that continues a text.
const MOST_OF_COMPLETION: usize = 5;

/// The value of `include` with which a Responses request asks for log-probabilities.
const INCLUDED: &str = "message.output_text.logprobs";

/// What a chat request asks for by `logprobs` and `top_logprobs`, which are taken from `extra`.
///
/// # Errors
/// One of them has a wrong type or is out of range, or `top_logprobs` stands alone; the sentence names the field.
pub(super) fn asked_by_chat(extra: &mut Map<String, Value>) -> Result<Option<TopLogprobs>, String> {
    let asked = match extra.remove("logprobs") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(other) => return Err(format!("logprobs: {other} is neither true nor false")),
    };
    match (asked, count(extra.remove("top_logprobs").as_ref(), "top_logprobs", MOST)?) {
        (true, count) => Ok(Some(TopLogprobs(count.unwrap_or(0)))),
        // Clients that always send the field send 0.
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err("top_logprobs: is given only if logprobs is true".into()),
    }
}

/// What a request that continues a text asks for by `logprobs`, which is taken from `extra`.
///
/// # Errors
/// It has a wrong type or is out of range; the sentence names the field.
pub(super) fn asked_by_completion(extra: &mut Map<String, Value>) -> Result<Option<TopLogprobs>, String> {
    Ok(count(extra.remove("logprobs").as_ref(), "logprobs", MOST_OF_COMPLETION)?.map(TopLogprobs))
}

/// What a Responses request asks for by `top_logprobs` and by a name in `include`, which are taken from `extra`.
///
/// # Errors
/// `top_logprobs` is no such number, or `include` no list; the sentence names the field.
pub(super) fn asked_by_responses(extra: &mut Map<String, Value>) -> Result<Option<TopLogprobs>, String> {
    let included = match extra.get_mut("include") {
        None | Some(Value::Null) => false,
        Some(Value::Array(names)) => {
            let all = names.len();
            names.retain(|name| name != INCLUDED);
            names.len() < all
        }
        Some(other) => return Err(format!("include: {other} is not a list")),
    };
    let count = count(extra.remove("top_logprobs").as_ref(), "top_logprobs", MOST)?.unwrap_or(0);
    Ok((included || count > 0).then_some(TopLogprobs(count)))
}

/// A number of the likeliest tokens. `null` counts as absent.
fn count(given: Option<&Value>, field: &str, most: usize) -> Result<Option<usize>, String> {
    let Some(given) = given.filter(|value| !value.is_null()) else { return Ok(None) };
    let count = given.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= most);
    count.map(Some).ok_or_else(|| format!("{field}: {given} is not a whole number from 0 to {most}"))
}

/// The log-probabilities of a chat answer's text, or of a piece of it; `None` where there are none.
pub(super) fn of_choice(content: Vec<TokenLogprob>) -> Option<ChoiceLogprobs> {
    (!content.is_empty()).then_some(ChoiceLogprobs { content, refusal: None })
}

/// The log-probabilities of a continuation, or of a piece of it; `None` where there are none. `offset`: characters of the
/// continuation that came before.
pub(super) fn of_completion(given: &[TokenLogprob], offset: usize) -> Option<CompletionLogprobs> {
    let mut logprobs = CompletionLogprobs::default();
    let bytes: Vec<u8> = given.iter().flat_map(|token| token.bytes.iter().copied()).collect();
    let characters = characters_of_bytes(&bytes);
    let mut before = 0;
    for TokenLogprob { token, logprob, bytes, top_logprobs } in given {
        logprobs.text_offset.push(offset + characters[before]);
        before += bytes.len();
        logprobs.tokens.push(token.clone());
        logprobs.token_logprobs.push(*logprob);
        // The token itself is always among them, in addition to the number asked for if need be.
        let mut likeliest: Map<_, _> = top_logprobs.iter().map(|top| (top.token.clone(), top.logprob.into())).collect();
        likeliest.insert(token.clone(), (*logprob).into());
        logprobs.top_logprobs.push(likeliest);
    }
    (!given.is_empty()).then_some(logprobs)
}

/// The index of each byte's character, then the number of characters. Bytes that are not UTF-8 count as the U+FFFD that replaces
/// them in a text.
fn characters_of_bytes(bytes: &[u8]) -> Vec<usize> {
    let mut characters = Vec::with_capacity(bytes.len() + 1);
    let mut number = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            characters.extend(std::iter::repeat_n(number, character.len_utf8()));
            number += 1;
        }
        if !chunk.invalid().is_empty() {
            characters.extend(std::iter::repeat_n(number, chunk.invalid().len()));
            number += 1;
        }
    }
    characters.push(number);
    characters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::TopLogprob;

    fn fields(body: Value) -> Map<String, Value> {
        body.as_object().unwrap().clone()
    }

    #[test]
    fn each_protocol_asks_in_its_own_way() {
        let chat = |body: Value| asked_by_chat(&mut fields(body)).unwrap();
        assert_eq!(chat(json!({"logprobs": true})), Some(TopLogprobs(0)));
        assert_eq!(chat(json!({"logprobs": true, "top_logprobs": 20})), Some(TopLogprobs(20)));
        for nothing in [json!({}), json!({"logprobs": null, "top_logprobs": null}), json!({"logprobs": false, "top_logprobs": 0})]
        {
            assert_eq!(chat(nothing), None);
        }
        let completion = |body: Value| asked_by_completion(&mut fields(body)).unwrap();
        assert_eq!([json!({}), json!({"logprobs": null})].map(completion), [None, None]);
        assert_eq!(
            [json!({"logprobs": 0}), json!({"logprobs": 5})].map(completion),
            [Some(TopLogprobs(0)), Some(TopLogprobs(5))]
        );
        let responses = |body: Value| asked_by_responses(&mut fields(body)).unwrap();
        for nothing in [json!({}), json!({"top_logprobs": 0}), json!({"include": ["reasoning.encrypted_content"]})] {
            assert_eq!(responses(nothing), None);
        }
        assert_eq!(responses(json!({"top_logprobs": 3})), Some(TopLogprobs(3)));
        assert_eq!(responses(json!({"include": [INCLUDED]})), Some(TopLogprobs(0)));
        assert_eq!(responses(json!({"include": [INCLUDED], "top_logprobs": 20})), Some(TopLogprobs(20)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_field() {
        let chat = |body: Value| asked_by_chat(&mut fields(body)).unwrap_err();
        let refusals = [
            chat(json!({"logprobs": 1})),
            chat(json!({"logprobs": true, "top_logprobs": 21})),
            chat(json!({"logprobs": true, "top_logprobs": -1})),
            chat(json!({"logprobs": true, "top_logprobs": 1.5})),
            chat(json!({"top_logprobs": 3})),
            chat(json!({"logprobs": false, "top_logprobs": 3})),
            asked_by_completion(&mut fields(json!({"logprobs": 6}))).unwrap_err(),
            asked_by_completion(&mut fields(json!({"logprobs": true}))).unwrap_err(),
            asked_by_responses(&mut fields(json!({"top_logprobs": 21}))).unwrap_err(),
            asked_by_responses(&mut fields(json!({"include": INCLUDED}))).unwrap_err(),
        ];
        insta::assert_snapshot!(refusals.join("\n"), @r#"
        logprobs: 1 is neither true nor false
        top_logprobs: 21 is not a whole number from 0 to 20
        top_logprobs: -1 is not a whole number from 0 to 20
        top_logprobs: 1.5 is not a whole number from 0 to 20
        top_logprobs: is given only if logprobs is true
        top_logprobs: is given only if logprobs is true
        logprobs: 6 is not a whole number from 0 to 5
        logprobs: true is not a whole number from 0 to 5
        top_logprobs: 21 is not a whole number from 0 to 20
        include: "message.output_text.logprobs" is not a list
        "#);
    }

    #[test]
    fn offsets_count_characters_however_tokens_split_them() {
        let token = |bytes: &[u8]| TokenLogprob {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob: -0.5,
            bytes: bytes.to_vec(),
            top_logprobs: vec![TopLogprob { token: "é".into(), logprob: -0.25, bytes: "é".into() }],
        };
        // "é🦀b": the crab in three tokens, of which the last goes on.
        let given = [token("é".as_bytes()), token(b"\xf0"), token(b"\x9f\xa6"), token(b"\x80b"), token(b"c")];
        let CompletionLogprobs { tokens, token_logprobs, top_logprobs, text_offset } = of_completion(&given, 7).unwrap();
        assert_eq!(text_offset, [7, 8, 8, 8, 10]);
        assert_eq!((tokens.len(), token_logprobs), (5, vec![-0.5; 5]));
        assert_eq!(json!(top_logprobs[4]), json!({"é": -0.25, "c": -0.5}));
        assert_eq!(of_completion(&[], 7), None);
        let stray = [token(b"a"), token(b"\x80"), token(b"b")];
        assert_eq!(of_completion(&stray, 0).unwrap().text_offset, [0, 1, 2]);
    }
}
