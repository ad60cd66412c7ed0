//! What the environment asks for, for every command.

/// Whether the environment says that no person is watching.
pub(super) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
