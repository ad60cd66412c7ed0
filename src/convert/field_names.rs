//! What OpenAI's clients call the fields that an error names.

/// What the client calls the fields of a Messages request that was made of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldNames {
    /// Each tool of the Messages request by its name, with its path in the client's request, such as `tools.2.function`.
    pub(super) tools: Vec<(String, String)>,
    /// Other fields: how the Messages protocol's path begins, and how the client's does.
    pub(super) others: Vec<(&'static str, &'static str)>,
}

impl FieldNames {
    /// The error with the client's names for its fields.
    pub fn in_error(&self, message: String) -> String {
        let other = self.others.iter().find_map(|(ours, theirs)| {
            let rest = message.strip_prefix(ours)?;
            Some(format!("{theirs}{rest}"))
        });
        other.or_else(|| self.tool_error(&message)).unwrap_or(message)
    }

    fn tool_error(&self, message: &str) -> Option<String> {
        let (tool, rest) = message.strip_prefix("tools.")?.split_once('.')?;
        let indexed = || tool.parse().ok().and_then(|index: usize| self.tools.get(index));
        // The server speaks of names, and of a tool by its index. The engine speaks of schemas, and of a tool by its name.
        let (_, path) = match rest.starts_with("custom.") {
            true => indexed()?,
            false => self.tools.iter().find(|(name, _)| name == tool).or_else(indexed)?,
        };
        let rest = rest.strip_prefix("custom.").unwrap_or(rest).replacen("input_schema", "parameters", 1);
        Some(format!("{path}.{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_as_the_client_wrote_it() {
        let fields = FieldNames {
            tools: vec![("Read".into(), "tools.1.function".into()), ("0".into(), "tools.4.function".into())],
            others: vec![("output_config.effort", "reasoning_effort")],
        };
        let renamed = |message: &str| fields.in_error(message.into());
        assert_eq!(renamed("tools.1.custom.name: no"), "tools.4.function.name: no");
        assert_eq!(renamed("tools.Read.input_schema.properties.a: no"), "tools.1.function.parameters.properties.a: no");
        assert_eq!(renamed("tools.0.input_schema.properties.a: no"), "tools.4.function.parameters.properties.a: no");
        assert_eq!(renamed("tools: Tool names must be unique."), "tools: Tool names must be unique.");
        assert_eq!(renamed("output_config.effort: no"), "reasoning_effort: no");
        assert_eq!(renamed("messages: no"), "messages: no");
    }
}
