//! Log-probabilities, which spell a text token by token. A secret that was replaced in the text would still stand in them.

use serde_json::{Map, Value};

use super::REDACTED;

/// Removes the tokens' texts from an object of OpenAI's that has log-probabilities. The numbers stay.
pub(super) fn forget_spelling(fields: &mut Map<String, Value>) {
    if fields.contains_key("logprob")
        && let Some(token @ Value::String(_)) = fields.get_mut("token")
    {
        *token = REDACTED.into();
        if let Some(bytes) = fields.get_mut("bytes") {
            *bytes = Value::Null;
        }
    }
    // Completions have lists in place of objects, and the likeliest tokens as keys.
    if fields.contains_key("token_logprobs")
        && let Some(Value::Array(tokens)) = fields.get_mut("tokens")
    {
        tokens.iter_mut().for_each(|token| *token = REDACTED.into());
        if let Some(likeliest) = fields.get_mut("top_logprobs") {
            *likeliest = Value::Null;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Redactor;

    #[test]
    fn no_token_is_spelled_out() {
        let token = |text: &str| json!({"token": text, "logprob": -0.5, "bytes": [115], "top_logprobs": []});
        let mut likely = token("sk");
        likely["top_logprobs"] = json!([token("-ant-")]);
        let mut body = json!({"choices": [{"text": "x", "logprobs": {"content": [likely]}},
            {"logprobs": {"tokens": ["sk", "-ant-"], "token_logprobs": [-0.5, -0.25], "top_logprobs": [{"sk": -0.5}], "text_offset": [0, 2]}}]});
        Redactor::default().json(&mut body);
        let mut redacted = json!({"token": "[redacted]", "logprob": -0.5, "bytes": null, "top_logprobs": []});
        assert_eq!(body["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([redacted]));
        redacted["top_logprobs"] = json!([redacted]);
        assert_eq!(body["choices"][0]["logprobs"]["content"][0], redacted);
        assert_eq!(
            body["choices"][1]["logprobs"],
            json!({"tokens": ["[redacted]", "[redacted]"], "token_logprobs": [-0.5, -0.25], "top_logprobs": null, "text_offset": [0, 2]})
        );
    }
}
