//! Which tokens a client is told of, against the text that it sees.

use proptest::prelude::*;

use super::*;
use crate::engine::text::TokenKind;
use crate::wire::{TokenLogprob, TopLogprobs};

/// A decoder for an answer with log-probabilities, and the same without.
fn pair(more: Value) -> [AnswerDecoder; 2] {
    let body = json!({"model": "m", "max_tokens": 1, "messages": []});
    [Some(TopLogprobs(2)), None].map(|top_logprobs| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request = MessagesRequest { top_logprobs, ..serde_json::from_value(body).unwrap() };
        DECODERS.start(&request, None).unwrap()
    })
}

fn read_tool() -> Value {
    let schema = json!({"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"], "additionalProperties": false});
    json!([{"name": "Read", "input_schema": schema}])
}

/// Pushes a token that was twice as likely as all others together.
fn push_likely(decoder: &mut AnswerDecoder, token: u32) -> Vec<Piece> {
    let others = TOKENIZER.vocab_size() - 1;
    let mut logits = vec![0.0; others + 1];
    logits[token as usize] = (2.0 * others as f32).ln();
    decoder.weigh(token, &logits, None);
    decoder.push(token).unwrap()
}

/// Everything that the tokens of some texts become.
fn pieces(decoder: &mut AnswerDecoder, texts: &[&str]) -> Vec<Piece> {
    let tokens = texts.iter().flat_map(|text| TOKENIZER.encode(text).unwrap());
    let mut pieces: Vec<Piece> = tokens.flat_map(|token| push_likely(decoder, token)).collect();
    pieces.extend(decoder.finish());
    pieces
}

/// The bytes of each token that the client is told of, as text.
fn told(pieces: &[Piece]) -> Vec<String> {
    logprobs(pieces).iter().map(|token| String::from_utf8_lossy(&token.bytes).into_owned()).collect()
}

fn logprobs(pieces: &[Piece]) -> Vec<TokenLogprob> {
    let tokens = pieces.iter().flat_map(|piece| match piece {
        Piece::TextWithLogprobs { logprobs, .. } => logprobs.clone(),
        Piece::Text(text) => panic!("{text:?} has no tokens"),
        _ => Vec::new(),
    });
    tokens.collect()
}

#[test]
fn a_token_comes_with_its_text_and_the_likeliest_ones() {
    let [mut decoder, _] = pair(json!({}));
    let tokens = TOKENIZER.encode("Let me look").unwrap();
    let first = TOKENIZER.bytes(tokens[0]).to_vec();
    // The whitespace behind it may belong to a call, the word does not.
    let given = push_likely(&mut decoder, tokens[0]);
    let [Piece::TextWithLogprobs { text, logprobs }] = &given[..] else { panic!("{given:?}") };
    let [token] = &logprobs[..] else { panic!("{logprobs:?}") };
    assert_eq!((text.as_bytes(), &token.bytes, token.token.as_bytes()), (&first[..], &first, &first[..]));
    assert!((token.logprob - (2f64 / 3.0).ln()).abs() < 1e-4, "{token:?}");
    assert_eq!(token.top_logprobs.len(), 2);
    assert_eq!((&token.top_logprobs[0].token, token.top_logprobs[0].logprob), (&token.token, token.logprob));
}

#[test]
fn what_a_stop_sequence_cuts_off_is_not_told() {
    let [mut decoder, _] = pair(json!({"stop_sequences": ["END"]}));
    let stopped = pieces(&mut decoder, &["A", "B", "E", "x", "E", "N", "D", "C"]);
    assert_eq!(told(&stopped), ["A", "B", "E", "x"]);
    // Inside of a token: the part before is still text.
    assert_eq!(TOKENIZER.encode("ok").unwrap().len(), 1, "the tokenizer has a token for this");
    let [mut decoder, _] = pair(json!({"stop_sequences": ["k"]}));
    let cut = pieces(&mut decoder, &["A", "ok", "C"]);
    assert_eq!(told(&cut), ["A", "o"]);
    assert_eq!(logprobs(&cut)[1].token, "ok");
}

#[test]
fn characters_of_several_tokens_come_with_all_of_them() {
    let [mut decoder, _] = pair(json!({}));
    let tokens = TOKENIZER.encode("🦀").unwrap();
    assert!(tokens.len() > 1, "the tokenizer has no token for the character");
    let mut given: Vec<Piece> = Vec::new();
    for token in &tokens {
        assert_eq!(given, []);
        given = push_likely(&mut decoder, *token);
    }
    let [Piece::TextWithLogprobs { text, logprobs }] = &given[..] else { panic!("{given:?}") };
    assert_eq!((text.as_str(), logprobs.len()), ("🦀", tokens.len()));
    assert_eq!(logprobs.iter().flat_map(|token| token.bytes.clone()).collect::<Vec<u8>>(), "🦀".as_bytes());
    assert_eq!(logprobs[0].token, logprobs[0].bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
    // An answer that ends in the middle of the character has the tokens that came.
    let [mut cut, _] = pair(json!({}));
    let mut given = push_likely(&mut cut, tokens[0]);
    given.extend(cut.finish());
    let [Piece::TextWithLogprobs { text, logprobs }] = &given[..] else { panic!("{given:?}") };
    assert_eq!((text.as_str(), logprobs.len()), ("\u{fffd}", 1));
}

#[test]
fn thoughts_calls_and_the_end_of_the_answer_are_not_told() {
    let [mut decoder, _] = pair(json!({"tools": read_tool(), "thinking": {"type": "enabled"}}));
    let thought = format!("<think>\nHm. {CALL} Look.\n</think>\n\n");
    let given = pieces(&mut decoder, &[&thought, "Look", ".", "\n", CALL, "\n", "Done", "."]);
    assert_eq!(told(&given).concat(), "Look.Done.");
    let [mut decoder, _] = pair(json!({}));
    let mut given = push_likely(&mut decoder, TOKENIZER.encode("Hi").unwrap()[0]);
    given.extend(push_likely(&mut decoder, TOKENIZER.eos_tokens()[0]));
    given.extend(decoder.finish());
    assert_eq!(logprobs(&given).len(), 1);
}

#[test]
fn the_likeliest_end_of_an_answer_has_a_name_and_no_bytes() {
    let [mut decoder, _] = pair(json!({}));
    let (token, end) = (TOKENIZER.encode("Hi").unwrap()[0], TOKENIZER.eos_tokens()[0]);
    let mut logits = vec![0.0; TOKENIZER.vocab_size()];
    logits[end as usize] = 9.0;
    decoder.weigh(token, &logits, None);
    let given = decoder.push(token).unwrap();
    let likeliest = &logprobs(&given)[0].top_logprobs[0];
    assert_eq!((likeliest.token.as_str(), likeliest.bytes.len()), ("<|im_end|>", 0));
}

/// Requests without tools, with tools, with thoughts, and with stop sequences that hold text back.
fn requests() -> Vec<Value> {
    let stops = json!(["END", "\n\n", "ba"]);
    vec![
        json!({}),
        json!({"stop_sequences": stops}),
        json!({"tools": read_tool(), "stop_sequences": stops}),
        json!({"tools": read_tool(), "thinking": {"type": "enabled"}}),
        json!({"tools": read_tool()}),
    ]
}

/// Texts that some part of the decoder holds back, cuts or drops.
fn texts() -> Vec<&'static str> {
    vec![
        "a",
        "b",
        " the look",
        "é🦀",
        " ",
        "\n",
        "\n\n",
        "E",
        "EN",
        "END",
        "<",
        "<tool",
        "<tool_call",
        "<think>\nhm\n",
        "</think>",
        "\n\nAnswer",
        CALL,
    ]
}

/// Text, or a token of few bytes, which need not be a character.
fn spoken() -> impl Strategy<Value = Vec<u32>> {
    let small = |token: &u32| TOKENIZER.kind(*token) == TokenKind::Text && TOKENIZER.bytes(*token).len() <= 2;
    let small: Vec<u32> = (0..TOKENIZER.vocab_size() as u32).filter(small).collect();
    prop_oneof![
        4 => prop::sample::select(texts()).prop_map(|text| TOKENIZER.encode(text).unwrap()),
        1 => prop::sample::select(small).prop_map(|token| vec![token]),
    ]
}

proptest! {
    /// Log-probabilities change no text, and the tokens that are told make up the text, in the order in which they came.
    #[test]
    fn the_told_tokens_are_those_of_the_text(request in prop::sample::select(requests()), spoken in prop::collection::vec(spoken(), 1..12)) {
        let [mut with, mut without] = pair(request);
        let (mut told, mut plain, mut sampled) = (Vec::new(), Vec::new(), Vec::new());
        for token in spoken.concat() {
            if with.is_finished() || !without.mask().unwrap().is_none_or(|mask| mask.allows(token)) {
                continue;
            }
            sampled.push(token);
            told.extend(push_likely(&mut with, token));
            plain.extend(without.push(token).unwrap());
        }
        told.extend(with.finish());
        plain.extend(without.finish());

        let mut sampled = sampled.iter().map(|token| TOKENIZER.bytes(*token));
        let mut texts = Vec::new();
        for piece in told {
            let Piece::TextWithLogprobs { text, logprobs } = piece else {
                texts.push(piece);
                continue;
            };
            let bytes: Vec<u8> = logprobs.iter().flat_map(|token| token.bytes.clone()).collect();
            prop_assert_eq!(String::from_utf8_lossy(&bytes), text.as_str());
            for token in &logprobs {
                prop_assert!(!token.bytes.is_empty());
                prop_assert!(sampled.any(|whole| whole.windows(token.bytes.len()).any(|part| part == token.bytes)), "{:?}", token);
                prop_assert_eq!((&token.top_logprobs[0].token, token.top_logprobs[0].logprob), (&token.token, token.logprob));
            }
            texts.push(Piece::Text(text));
        }
        prop_assert_eq!(joined(texts), joined(plain));
    }
}
