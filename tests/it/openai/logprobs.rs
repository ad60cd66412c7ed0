//! Log-probabilities, as OpenAI's Python SDK reads them from the local model's answers.

use serde_json::{Value, json};

use crate::support::MODEL;
use crate::support::clients::sdk;
use crate::support::http::post;
use crate::support::serving::Serving;

/// The text of a pair of text and tokens, checked against the tokens' bytes.
fn text(pair: &Value) -> &str {
    let bytes: Vec<u8> =
        tokens(pair).iter().flat_map(|token| token[2].as_array().unwrap()).map(|b| b.as_u64().unwrap() as u8).collect();
    let text = pair[0].as_str().unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text, "{pair}");
    text
}

fn tokens(pair: &Value) -> &[Value] {
    pair[1].as_array().unwrap()
}

/// What must be so of any token, sampled in whatever way. Returns whether it was the likeliest.
fn is_likeliest(token: &Value) -> bool {
    let likeliest = token[3].as_array().unwrap();
    let logprobs: Vec<f64> = likeliest.iter().map(|likely| likely[1].as_f64().unwrap()).collect();
    assert!(logprobs.is_sorted_by(|a, b| a >= b), "{token}");
    assert!(logprobs.iter().map(|logprob| logprob.exp()).sum::<f64>() <= 1.0 + 1e-6, "{token}");
    if let Some(same) = likeliest.iter().find(|likely| likely[0] == token[0]) {
        assert_eq!(same[1], token[1], "{token}");
    }
    likeliest.first().is_some_and(|first| first[0] == token[0])
}

#[test]
fn openais_python_sdk_gets_log_probabilities() {
    let server = Serving::start(MODEL, &[]);
    let seen = sdk("logprobs.py", &server.url);
    assert!(tokens(&seen["chat"]).len() > 5, "{seen}");
    chat_has_them(&seen);
    stop_sequences_cut_them(&seen);
    responses_has_them(&seen);
    completions_has_them(&seen);
    let refused = seen["refused"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap());
    insta::assert_snapshot!(refused.collect::<Vec<_>>().join("\n"), @r"
    top_logprobs top_logprobs: is given only if logprobs is true
    top_logprobs top_logprobs: 21 is not a whole number from 0 to 20
    top_logprobs top_logprobs: 21 is not a whole number from 0 to 20
    logprobs logprobs: 6 is not a whole number from 0 to 5
    ");
}

fn chat_has_them(seen: &Value) {
    let whole = &seen["chat"];
    assert_eq!(seen["plain"], json!([text(whole), null]), "what nobody asks for is not there");
    for token in tokens(whole) {
        assert_eq!(token[3].as_array().unwrap().len(), 5);
        assert!(is_likeliest(token), "a greedy answer has the likeliest tokens: {token}");
    }
    assert_eq!(&seen["chat_streamed"], whole);
    // Each chunk has the tokens of its own text.
    let pieces = seen["chat_pieces"].as_array().unwrap();
    assert!(pieces.len() > 5, "{pieces:?}");
    assert_eq!(pieces.iter().map(text).collect::<String>(), text(whole));
    assert_eq!(pieces.iter().flat_map(tokens).collect::<Vec<_>>(), tokens(whole).iter().collect::<Vec<_>>());
    // Temperature changes which token is drawn, not how likely the model finds it.
    let drawn = &seen["chat_drawn"];
    let unlikely = tokens(drawn).iter().filter(|token| !is_likeliest(token)).count();
    assert!(unlikely > 0 && !text(drawn).is_empty(), "{drawn}");
    let likeliest = |answer: &Value| tokens(answer)[0][3].as_array().unwrap()[..5].to_vec();
    assert_eq!(likeliest(drawn), likeliest(whole));
}

/// What is cut off is neither in the text nor among the tokens.
fn stop_sequences_cut_them(seen: &Value) {
    let (whole, stopped) = (text(&seen["chat"]), text(&seen["chat_stopped"]));
    assert!(!stopped.is_empty() && whole.starts_with(&format!("{stopped}tiny")), "{stopped}");
    assert!(tokens(&seen["chat_stopped"]).iter().all(|token| token[3] == json!([])));
    assert_eq!(seen["chat_stopped_pieces"].as_array().unwrap().iter().map(text).collect::<String>(), stopped);
}

fn is_near(a: &Value, b: &Value) -> bool {
    (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-6
}

fn responses_has_them(seen: &Value) {
    let (whole, response) = (&seen["chat"], &seen["response"]);
    assert_eq!((text(response), tokens(response).len()), (text(whole), tokens(whole).len()));
    for (token, chat) in tokens(response).iter().zip(tokens(whole)) {
        assert!(token[0] == chat[0] && is_near(&token[1], &chat[1]) && is_likeliest(token), "{token} {chat}");
    }
    assert_eq!((&seen["response_streamed"], &seen["response_without"]), (response, &json!([text(whole), []])));
    let short = tokens(response).iter().map(|token| json!([token[0], token[1]])).collect::<Vec<_>>();
    let deltas = seen["response_deltas"].as_array().unwrap();
    assert_eq!(deltas.iter().map(|delta| delta[0].as_str().unwrap()).collect::<String>(), text(whole));
    assert_eq!(deltas.iter().flat_map(tokens).cloned().collect::<Vec<_>>(), short);
    assert_eq!(seen["response_done"], json!([text(whole), short]));
}

fn completions_has_them(seen: &Value) {
    let (whole, completion) = (&seen["chat"], &seen["completion"]);
    assert_eq!((completion, &completion["text"]), (&seen["completion_streamed"], &whole[0]));
    let list = |name: &str| completion[name].as_array().unwrap();
    assert_eq!(list("tokens").len(), tokens(whole).len());
    for (at, chat) in tokens(whole).iter().enumerate() {
        let (token, offset) = (list("tokens")[at].as_str().unwrap(), list("text_offset")[at].as_u64().unwrap() as usize);
        assert!(token == chat[0] && is_near(&list("token_logprobs")[at], &chat[1]), "{completion}");
        assert!(text(whole)[offset..].starts_with(token), "{completion}");
        assert_eq!(list("top_logprobs")[at].as_object().unwrap().len(), 5, "the likeliest token is among the five");
        assert!(is_near(&list("top_logprobs")[at][token], &chat[1]), "{completion}");
    }
}

#[test]
fn the_messages_protocol_has_none() {
    let server = Serving::start(MODEL, &[]);
    for stream in [false, true] {
        let hello = json!({"model": "m", "max_tokens": 9, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}],
            "logprobs": true, "top_logprobs": 5, "stream": stream});
        let answer = post(&format!("{}/v1/messages", server.url), &hello).succeeds().text;
        assert!(answer.contains("\"text\"") && !answer.contains("logprob"), "{answer}");
    }
}
