//! How sure a model was of its calls, from the log-probabilities in a chat completion. Pure.
//!
//! The completion has its calls in one place and the tokens of the whole answer, with whatever marks calls in this model's format,
//! in another. So a call's tokens are found by its name and the names of its arguments. Which tokens the grammar allowed is not
//! told: all of them count as free.

use serde_json::{Map, Value};

use super::{CallMargin, JudgedAnswer, LeastMargin};

/// A token of the answer.
struct Token {
    /// Where it ends in the answer's bytes.
    end: usize,
    text: String,
    logprob: f64,
    /// The best other token, and by how much this one is ahead of it.
    runner_up: Option<(String, f64)>,
}

/// The calls of a completion, and how sure the model was of each.
///
/// # Errors
/// The completion has no log-probabilities, or none of its calls. The text says so.
pub(super) fn judged(completion: &Value) -> Result<JudgedAnswer, String> {
    let choice = &completion["choices"][0];
    let (tokens, text) = tokens(&choice["logprobs"]["content"]);
    if tokens.is_empty() {
        return Err("the server sent no log-probabilities".into());
    }
    let calls = choice["message"]["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut starts = Vec::new();
    let mut from = 0;
    for call in calls {
        let name = call["function"]["name"].as_str().unwrap_or_default();
        let start = name_at(&text, name, from).ok_or("the server's log-probabilities are of its text only, not of its calls")?;
        starts.push(start);
        from = start + name.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let margins = calls.iter().zip(starts.iter().zip(ends)).map(|(call, (start, end))| {
        let function = &call["function"];
        let input = function["arguments"].as_str().unwrap_or_default();
        let own: Vec<(usize, &Token)> =
            tokens.iter().enumerate().filter(|(_, token)| token.end > *start && token.end <= end).collect();
        margin(function["name"].as_str().unwrap_or_default(), input, &own, &arguments_at(&text, input, *start, end))
    });
    Ok(JudgedAnswer { tokens: Vec::new(), calls: margins.collect() })
}

fn margin(tool: &str, input: &str, tokens: &[(usize, &Token)], arguments: &[(usize, String)]) -> CallMargin {
    let least = tokens.iter().filter_map(|(at, token)| Some((at, token, token.runner_up.as_ref()?)));
    let least = least.min_by(|(.., one), (.., other)| one.1.total_cmp(&other.1));
    CallMargin {
        tool: tool.to_owned(),
        input: input.to_owned(),
        free_tokens: tokens.len(),
        forced_tokens: 0,
        mean_logprob: tokens.iter().map(|(_, token)| token.logprob).sum::<f64>() / tokens.len().max(1) as f64,
        least: least.map(|(at, token, (runner_up, margin))| LeastMargin {
            margin: *margin,
            argument: arguments.iter().rev().find(|(from, _)| *from < token.end).map(|(_, name)| name.clone()),
            token: at + 1,
            text: token.text.clone(),
            runner_up: runner_up.clone(),
        }),
    }
}

/// The tokens, and the answer's bytes.
fn tokens(content: &Value) -> (Vec<Token>, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut tokens = Vec::new();
    for token in content.as_array().into_iter().flatten() {
        let (text, logprob) = (token["token"].as_str().unwrap_or_default(), token["logprob"].as_f64().unwrap_or_default());
        let top = token["top_logprobs"].as_array().into_iter().flatten();
        let others = top.filter_map(|other| Some((other["token"].as_str()?, other["logprob"].as_f64()?)));
        let best = others.filter(|(other, _)| *other != text).max_by(|(_, one), (_, other)| one.total_cmp(other));
        let runner_up = best.map(|(other, of_other)| (other.to_owned(), logprob - of_other));
        match token["bytes"].as_array() {
            Some(exact) => bytes.extend(exact.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok())),
            None => bytes.extend_from_slice(text.as_bytes()),
        }
        tokens.push(Token { end: bytes.len(), text: text.to_owned(), logprob, runner_up });
    }
    (tokens, bytes)
}

/// Where a tool is named: as JSON has it or as an attribute, before a word of the text is taken for it.
fn name_at(text: &[u8], name: &str, from: usize) -> Option<usize> {
    let as_json = || position(text, &format!("\"{name}\""), from).map(|at| at + 1);
    let as_attribute = || position(text, &format!("={name}"), from).map(|at| at + 1);
    as_json().or_else(as_attribute).or_else(|| position(text, name, from))
}

/// Where each argument begins, in the order of the text.
fn arguments_at(text: &[u8], input: &str, start: usize, end: usize) -> Vec<(usize, String)> {
    let input: Map<String, Value> = serde_json::from_str(input).unwrap_or_default();
    let mut from = start;
    let mut found = Vec::new();
    for name in input.keys() {
        if let Some(at) = position(&text[..end], name, from) {
            found.push((at, name.clone()));
            from = at + name.len();
        }
    }
    found
}

fn position(text: &[u8], part: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let found = rest.windows(part.len().max(1)).position(|window| window == part.as_bytes());
    found.map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Each token with its log-probability and the best other one's.
    fn completion(tokens: &[(&str, f64, f64)], calls: &[(&str, &str)]) -> Value {
        let token = |(text, logprob, other): &(&str, f64, f64)| {
            json!({"token": text, "logprob": logprob, "top_logprobs": [
                {"token": text, "logprob": logprob}, {"token": "other", "logprob": other},
            ]})
        };
        let calls: Vec<_> =
            calls.iter().map(|(name, arguments)| json!({"function": {"name": name, "arguments": arguments}})).collect();
        let content: Vec<_> = tokens.iter().map(token).collect();
        json!({"choices": [{"message": {"tool_calls": calls}, "logprobs": {"content": content}}]})
    }

    #[test]
    fn each_call_has_its_own_tokens_and_the_least_margin_has_its_argument() {
        let tokens = [
            // Not of a call, though it names one.
            ("Read it", -2.0, -2.1),
            ("{\"name\": \"", -0.1, -5.0),
            ("Read", -0.5, -2.0),
            ("\", \"arguments\": {\"file_path\": \"", -0.0, -9.0),
            ("a.txt", -0.3, -0.7),
            ("\"}}", -0.0, -9.0),
            ("{\"name\": \"", -0.1, -5.0),
            ("Bash", -0.2, -2.0),
            ("\", \"arguments\": {\"command\": \"ls\"}}", -0.0, -9.0),
        ];
        let calls = [("Read", "{\"file_path\":\"a.txt\"}"), ("Bash", "{\"command\":\"ls\"}")];
        let judged = judged(&completion(&tokens, &calls)).unwrap();
        let least = judged.calls[0].least.as_ref().unwrap();
        assert_eq!((least.argument.as_deref(), least.token, least.text.as_str()), (Some("file_path"), 5, "a.txt"));
        assert!((least.margin - 0.4).abs() < 1e-9 && least.runner_up == "other", "{least:?}");
        assert_eq!((judged.calls[0].free_tokens, judged.calls[1].free_tokens), (5, 2));
        let least = judged.calls[1].least.as_ref().unwrap();
        assert_eq!((least.argument.as_deref(), least.token), (None, 8));
    }

    #[test]
    fn what_is_missing_is_said() {
        let call = [("Read", "{}")];
        assert_eq!(judged(&completion(&[], &call)).unwrap_err(), "the server sent no log-probabilities");
        let of_text = judged(&completion(&[("Let me look.", -0.1, -2.0)], &call));
        assert_eq!(of_text.unwrap_err(), "the server's log-probabilities are of its text only, not of its calls");
        assert_eq!(judged(&completion(&[("Hi.", -0.1, -2.0)], &[])).unwrap().calls, []);
    }

    #[test]
    fn bytes_count_where_they_are_given() {
        let mut answer =
            completion(&[("<0xC3>", -0.1, -1.0), ("<0xA9>", -0.1, -1.0), ("\"Read\"", -0.1, -1.0)], &[("Read", "{}")]);
        let content = answer["choices"][0]["logprobs"]["content"].as_array_mut().unwrap();
        (content[0]["bytes"], content[1]["bytes"]) = (json!([0xC3]), json!([0xA9]));
        let least = judged(&answer).unwrap().calls.remove(0).least.unwrap();
        assert_eq!((least.token, least.text.as_str()), (3, "\"Read\""));
    }
}
