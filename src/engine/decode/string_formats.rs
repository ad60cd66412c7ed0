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

/// A pattern for texts of a format, all of which every reader accepts; `None` for formats that no grammar here has.
pub(super) fn pattern(format: &str) -> Option<String> {
    const LABEL: &str = "[A-Za-z0-9]([A-Za-z0-9-]{0,58}[A-Za-z0-9])?";
    const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let host = || format!("{LABEL}(\\.{LABEL}){{0,3}}");
    let whole = match format {
        "date-time" => format!("{DATE}T{TIME}"),
        "date" => DATE.to_owned(),
        "time" => TIME.to_owned(),
        "duration" => duration(),
        "email" | "idn-email" => {
            let word = "[A-Za-z0-9_+-]{1,20}";
            format!("{word}(\\.{word}){{0,2}}@{}", host())
        }
        "hostname" | "idn-hostname" => host(),
        "ipv4" => format!("({OCTET}\\.){{3}}{OCTET}"),
        "ipv6" => ipv6(),
        "uuid" => "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}".to_owned(),
        "uri" | "iri" => uri(&host()),
        _ => return None,
    };
    Some(format!("^({whole})$"))
}

/// Years, months and days without gaps between them, the same of hours, minutes and seconds, or weeks.
fn duration() -> String {
    let falling = |[a, b, c]: [&str; 3]| {
        let number = "[0-9]{1,6}";
        format!("({number}{a}({number}{b}({number}{c})?)?|{number}{b}({number}{c})?|{number}{c})")
    };
    let (date, time) = (falling(["Y", "M", "D"]), falling(["H", "M", "S"]));
    format!("P({date}(T{time})?|T{time}|[0-9]{{1,6}}W)")
}

/// Eight groups, or fewer around two colons.
fn ipv6() -> String {
    let group = "[0-9a-fA-F]{1,4}";
    let around = |before: usize| format!("({group}:){{{before}}}(:{group}){{1,{}}}", 7 - before);
    let mut forms = vec![format!("({group}:){{7}}{group}"), format!("({group}:){{1,7}}:"), "::".into()];
    forms.push(format!(":(:{group}){{1,7}}"));
    forms.extend((1..7).map(around));
    format!("({})", forms.join("|"))
}

/// A scheme, and a host with what may follow, or a path that begins with no two slashes.
fn uri(host: &str) -> String {
    let character = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})";
    let user = "([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9a-fA-F]{2})*@";
    let path = format!("{character}+(/{character}*)*");
    let server = format!("({user})?({host}|\\[{}\\])(:[0-9]{{1,4}})?", ipv6());
    let place = format!("//({server})?(/{character}*)*|/?{path}|/");
    let rest = format!("({character}|[/?])*");
    format!("[A-Za-z][A-Za-z0-9+.-]*:({place})(\\?{rest})?(#{rest})?")
}

/// Narrows a string's format to texts that every reader accepts, and drops formats that JSON Schema does not
/// define.
pub(super) fn narrow(keywords: &mut Map<String, Value>) {
    let Some(format) = keywords.get("format").and_then(Value::as_str).map(str::to_owned) else { return };
    let narrowed = match format.as_str() {
        "email" => {
            keywords.entry("maxLength").or_insert(json!(LONGEST_MAILBOX));
            return;
        }
        "date-time" | "time" => {
            let Some(pattern) = pattern(&format) else { return };
            pattern
        }
        _ if DEFINED.split(' ').any(|defined| defined == format) => return,
        _ => {
            keywords.remove("format");
            return;
        }
    };
    if !keywords.contains_key("pattern") {
        keywords.remove("format");
        keywords.insert("pattern".into(), json!(narrowed));
    }
}
