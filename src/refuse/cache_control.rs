//! What Anthropic refuses in a cache breakpoint.

use serde_json::{Map, Value};

use super::expected::{must_be_object, must_be_one_of};

/// How long Anthropic can be asked to keep a prefix.
const LIFETIMES: [&str; 2] = ["5m", "1h"];

/// Checks the `cache_control` among these fields, if there is one.
///
/// # Errors
/// One sentence that begins with `cache_control`.
pub(super) fn check(fields: &Map<String, Value>) -> Result<(), String> {
    let Some(breakpoint) = fields.get("cache_control").filter(|value| !value.is_null()) else { return Ok(()) };
    must_be_object(breakpoint, "cache_control")?;
    must_be_one_of(&["ephemeral"], breakpoint.get("type"), "cache_control.type")?;
    match breakpoint.get("ttl") {
        None | Some(Value::Null) => Ok(()),
        given => must_be_one_of(&LIFETIMES, given, "cache_control.ephemeral.ttl"),
    }
}
