//! Keys as the user gives them.

use axum::http::HeaderValue;

use super::CliError;

/// The key in an environment variable; `None` if it is empty or not set.
///
/// # Errors
/// No header can carry it.
pub(super) fn from_environment(variable: &str) -> Result<Option<String>, CliError> {
    match std::env::var(variable) {
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(unsendable(variable)),
        Ok(key) => sendable(key, variable),
    }
}

/// The key from this flag or variable; `None` if it is empty, for that is how a variable is unset.
///
/// # Errors
/// No header can carry it: a header takes visible ASCII characters, and spaces only between them.
pub(super) fn sendable(key: String, source: &str) -> Result<Option<String>, CliError> {
    // Headers may have other bytes too, but servers do not read them as text.
    let is_text = HeaderValue::from_str(&key).is_ok_and(|value| value.to_str().is_ok());
    if is_text && key.trim() == key { Ok(Some(key).filter(|key| !key.is_empty())) } else { Err(unsendable(source)) }
}

fn unsendable(source: &str) -> CliError {
    CliError::input(format!(
        "{source}: no HTTP header can carry this key; it may have letters without accents, digits and signs, and no space around it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_by_its_source() {
        for (key, expected) in [("", None), ("sk-1 a", Some("sk-1 a"))] {
            assert_eq!(sendable(key.into(), "--key").unwrap().as_deref(), expected);
        }
        for key in ["schlüssel", "a\nb", "a\0", " a", "a\t", "a\u{7f}"] {
            let error = sendable(key.into(), "--key").unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with("--key: no HTTP header"), "{key:?}: {error}");
            assert!(!error.to_string().contains("schl"), "{error}");
        }
    }
}
