//! References between the parts of a JSON Schema.

use serde_json::Value;

/// The part of the schema `root` that a `$ref` such as `#/$defs/path` points to. `None` if it points nowhere, or out of the
/// schema.
pub(super) fn target<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}
