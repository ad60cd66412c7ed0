//! What an answer's text has to look like: `output_config.format`, or the older top-level `output_format`.

use serde_json::{Map, Value};

/// The JSON Schema that the answer's text follows.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputFormat {
    /// Always an object.
    pub schema: Value,
    /// What the client says of a schema that cannot be enforced in full. Only OpenAI's clients say anything.
    pub strict: Option<bool>,
    /// The field that holds the format, for errors.
    pub field: &'static str,
}

impl OutputFormat {
    /// Whether a schema that cannot be enforced in full is refused: unless the client says otherwise, as Anthropic does.
    pub fn in_full(&self) -> bool {
        self.strict != Some(false)
    }

    /// The format that a request's further fields ask for. `null` and `{"type": "text"}` ask for none.
    ///
    /// # Errors
    /// One sentence that names the field: an unknown type, or a schema that is not an object.
    pub fn of(extra: &Map<String, Value>) -> Result<Option<Self>, String> {
        let newer =
            extra.get("output_config").and_then(|config| config.get("format")).map(|format| ("output_config.format", format));
        let older = extra.get("output_format").map(|format| ("output_format", format));
        let Some((field, format)) = [newer, older].into_iter().flatten().find(|(_, format)| !format.is_null()) else {
            return Ok(None);
        };
        match format["type"].as_str() {
            Some("text") => Ok(None),
            Some("json_schema") if format["schema"].is_object() => {
                Ok(Some(Self { schema: format["schema"].clone(), strict: format["strict"].as_bool(), field }))
            }
            Some("json_schema") if format.get("schema").is_none() => Err(format!("{field}.schema: Field required")),
            Some("json_schema") => Err(format!("{field}.schema: Input should be a valid dictionary")),
            _ => Err(format!("{field}.type: Input should be 'json_schema' or 'text'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(extra: Value) -> Result<Option<OutputFormat>, String> {
        OutputFormat::of(extra.as_object().unwrap())
    }

    #[test]
    fn both_fields_are_read_and_null_is_as_if_absent() {
        let format = json!({"type": "json_schema", "schema": {"type": "string"}});
        let read = |extra| of(extra).unwrap().map(|format| format.field);
        assert_eq!(read(json!({"output_config": {"format": format}})), Some("output_config.format"));
        assert_eq!(read(json!({"output_config": {"format": null}, "output_format": format})), Some("output_format"));
        for extra in
            [json!({}), json!({"output_config": null, "output_format": null}), json!({"output_format": {"type": "text"}})]
        {
            assert_eq!(read(extra), None);
        }
    }

    #[test]
    fn an_error_names_the_field() {
        for (format, expected) in [
            (json!({"type": "yaml"}), "output_config.format.type: Input should be 'json_schema' or 'text'"),
            (json!({"type": "json_schema"}), "output_config.format.schema: Field required"),
            (json!({"type": "json_schema", "schema": true}), "output_config.format.schema: Input should be a valid dictionary"),
            (json!(7), "output_config.format.type: Input should be"),
        ] {
            let error = of(json!({"output_config": {"format": format}})).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
