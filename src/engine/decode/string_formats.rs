//! The `format` keyword of strings, narrowed where llguidance allows values that common parsers refuse.

use serde_json::{Map, Value, json};

/// The formats that JSON Schema defines. Any other has no meaning to validators.
const DEFINED: &str = "date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference iri \
                       iri-reference uuid uri-template json-pointer relative-json-pointer regex";

/// Dates with a year of four digits. The 29th of February is left out, as a pattern cannot know leap years.
const DATE: &str =
    "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";

/// Times without the leap seconds and lower-case letters that RFC 3339 allows: many parsers refuse them.
const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";

/// RFC 5321's limit for the part of an address before the `@`, in characters. Applied to the whole address, which
/// is stricter but needs no pattern.
const LONGEST_MAILBOX: u64 = 64;

/// Narrows a string's format to texts that every reader accepts, and drops formats that JSON Schema does not
/// define.
pub(super) fn narrow(keywords: &mut Map<String, Value>) {
    let Some(format) = keywords.get("format").and_then(Value::as_str).map(str::to_owned) else { return };
    let pattern = match format.as_str() {
        "email" => {
            keywords.entry("maxLength").or_insert(json!(LONGEST_MAILBOX));
            return;
        }
        "date-time" => format!("^{DATE}T{TIME}$"),
        "time" => format!("^{TIME}$"),
        _ if DEFINED.split(' ').any(|defined| defined == format) => return,
        _ => {
            keywords.remove("format");
            return;
        }
    };
    if !keywords.contains_key("pattern") {
        keywords.remove("format");
        keywords.insert("pattern".into(), json!(pattern));
    }
}
