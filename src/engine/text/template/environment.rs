//! Configures minijinja to behave like jinja2 as transformers configures it.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter, filters};
use time::OffsetDateTime;
use time::format_description::parse_strftime_owned;

use crate::engine::text::python::{self, FueledText, json};
use crate::engine::text::tools::KnownTool;

/// The name of the environment's only template.
pub(super) const NAME: &str = "chat template";

/// What a rendering may cost: an instruction each, and one for every 64 bytes that it makes, so 256 MB at most. The longest
/// conversations take a twentieth of it; a loop without end takes a second.
pub(super) const FUEL: u64 = 4_000_000;

/// What rendering the short conversations may cost with which a template is tried out when it is loaded.
const TRIAL_FUEL: u64 = 200_000;

/// An environment with this template.
///
/// # Errors
/// The template does not compile.
pub(super) fn environment(source: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(TRIAL_FUEL));
    // An error would take the template's variables along, which belong to the thread that renders.
    environment.set_debug(false);
    environment.set_formatter(write);
    environment.set_unknown_method_callback(python::method);
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |state: &State, value: &Value| python::text(state, value).map(Cow::into_owned));
    environment.add_filter("join", join);
    environment.add_filter("int", |state: &State, value: &Value, default: Option<Value>, base: Option<u32>, options: Kwargs| {
        filters::int(state, value, default_or(0.into(), default, &options)?, base, options)
    });
    environment.add_filter("float", |state: &State, value: &Value, default: Option<Value>, options: Kwargs| {
        filters::float(state, value, default_or(0.0.into(), default, &options)?, options)
    });
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_iterable);
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    environment.add_template_owned(NAME, without_generation(&source))?;
    Ok(environment)
}

/// Replaces `{% generation %}` blocks, which minijinja does not know, by empty `{% with %}` blocks. They mark the
/// assistant's text for training and have no effect on a prompt; both kinds keep variables set inside them local.
fn without_generation(source: &str) -> String {
    let mut parts = source.split("{%");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("{%");
        let signed = part.trim_start_matches(['-', '+']);
        let tag = signed.trim_start();
        let renamed = [("generation", "with"), ("endgeneration", "endwith")].iter().find_map(|(word, ours)| {
            let rest = tag.strip_prefix(word)?;
            let ends = rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}");
            ends.then(|| format!("{}{ours}{rest}", &part[..part.len() - tag.len()]))
        });
        out.push_str(renamed.as_deref().unwrap_or(part));
    }
    out
}

/// Writes the value of `{{ … }}` as Python would.
fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            let text = python::text(state, value)?;
            out.write_str(&text).map_err(|_| Error::new(ErrorKind::WriteFailure, "the prompt cannot grow"))
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Jinja2's test `iterable`. Also used for `sequence`, which differs only for generators.
fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::Undefined)
}

/// Jinja2's filter `join`, which writes each item as Python's `str()` does.
fn join(state: &State, items: &Value, between: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let attribute: Option<&str> = options.get("attribute")?;
    let items = items.try_iter()?.map(|item| attribute.map_or(Ok(item.clone()), |name| item.get_attr(name)));
    python::joined(state, items, between.unwrap_or_default())
}

/// The result of the filters `int` and `float` for a text that is not a number: the template's default, or zero.
fn default_or(zero: Value, default: Option<Value>, options: &Kwargs) -> Result<Option<Value>, Error> {
    Ok(default.or(options.get("default")?).or(Some(zero)))
}

fn raise_exception(state: &State, message: &Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, python::text(state, message)?.into_owned()))
}

/// The current time in UTC, in strftime's notation.
fn strftime_now(state: &State, format: &str) -> Result<String, Error> {
    // What two characters ask for takes up to a hundred bytes, and as many where it is parsed.
    python::pay_for(state, format.len().saturating_mul(100))?;
    let bad = |error: String| Error::new(ErrorKind::InvalidOperation, format!("strftime_now({format:?}): {error}"));
    let items = parse_strftime_owned(format).map_err(|error| bad(error.to_string()))?;
    OffsetDateTime::now_utc().format(&items).map_err(|error| bad(error.to_string()))
}

/// The filter `tojson`: Python's `json.dumps` with the arguments that transformers supports.
fn to_json(state: &State, value: &Value, ascii: Option<bool>, indent: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let mut style = json::Style { ascii: ascii.or(options.get("ensure_ascii")?).unwrap_or(false), ..json::Style::default() };
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    style.indent = match indent.or(options.get("indent")?) {
        Some(width) if width.is_integer() => Some(spaces(state, usize::try_from(width).unwrap_or(0))?),
        Some(text) => text.as_str().map(str::to_owned),
        None => None,
    };
    if style.indent.is_some() {
        style.between_items = ",".into();
    }
    if let Some(separators) = options.get::<Option<Value>>("separators")?.filter(|value| !value.is_none()) {
        let separator = |at| python::text(state, &separators.get_item_by_index(at)?).map(Cow::into_owned);
        (style.between_items, style.after_keys) = (separator(0)?, separator(1)?);
    }
    options.assert_all_used()?;
    let known = value.downcast_object_ref::<KnownTool>().filter(|_| !sorted && style == json::Style::default());
    if let Some(json) = known.and_then(KnownTool::json) {
        return Ok(json.to_owned());
    }
    let mut out = FueledText::new(state);
    let dumped = match sorted {
        true => json::dump(&json::Sorted(value.clone()), &style, &mut out),
        false => json::dump(value, &style, &mut out),
    };
    dumped.map_err(|error| Error::new(ErrorKind::BadSerialization, format!("tojson: {error}")))?;
    Ok(out.into_string())
}

fn spaces(state: &State, width: usize) -> Result<String, Error> {
    python::pay_for(state, width)?;
    Ok(" ".repeat(width))
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;

    use super::*;

    #[test]
    fn generation_blocks_are_read_as_nothing() {
        let source = "a\n  {% generation %}\n{% set x = 1 %}{{ x }}\n  {%- endgeneration -%}\n b{{ x }}{%generation-%} c {%+ endgeneration %}{{ '{%' }}";
        let rendered = environment(source).unwrap().get_template(NAME).unwrap().render(()).unwrap();
        assert_eq!(rendered, "a\n1bc {%");
        assert_eq!(without_generation("{% generation_x %}{% if generation %}"), "{% generation_x %}{% if generation %}");
    }

    /// Where we differ from jinja2, and why.
    const DIFFERENT: [(&str, &str); 11] = [
        ("{{ '%s' % 'a' }}", "minijinja's operators are for numbers; the filter `format` does the same"),
        ("{{ +1 }}", "minijinja does not parse it"),
        ("{{ 'x' ~ dict.a }}", "minijinja writes what it joins its own way"),
        ("{{ 'x' ~ 1e16 }}", "minijinja writes what it joins its own way"),
        ("{{ ('<' | safe) + '<' }}", "nothing is escaped here, jinja2 does it where one side is said to be safe"),
        ("{{ text | e }}", "the same characters by other names"),
        ("{{ 'a b c' | wordcount }}", "no template was seen to count words"),
        ("{{ {'items': 1}.items == 1 }}", "a key comes before a method of that name"),
        ("{{ namespace() is mapping }}", "minijinja's namespaces are mappings"),
        (
            "{% for c in 'ab' %}{{ loop.last }}{{ loop.length }}{% endfor %}",
            "minijinja does not count the characters it goes through",
        ),
        ("{% for x in none %}x{% endfor %}", "minijinja takes it for nothing, Python refuses it"),
    ];

    #[test]
    fn templates_are_read_as_jinja2_reads_them() {
        #[derive(serde::Deserialize)]
        struct Probes {
            context: serde_json::Map<String, serde_json::Value>,
            messages: serde_json::Value,
            probes: Vec<Probe>,
        }
        #[derive(serde::Deserialize)]
        struct Probe {
            template: String,
            text: Option<String>,
        }
        let file = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/jinja2/probes.json"));
        let Probes { mut context, messages, probes } = serde_json::from_str(file).unwrap();
        context.extend([("messages".into(), messages), ("tools".into(), ().into()), ("documents".into(), ().into())]);
        context.insert("add_generation_prompt".into(), true.into());
        let differences = probes.iter().filter_map(|Probe { template, text }| {
            let ours = environment(template).and_then(|environment| environment.get_template(NAME)?.render(Serde(&context)));
            let known = DIFFERENT.iter().any(|(different, _)| different == template);
            let equal = ours.as_ref().ok() == text.as_ref();
            (equal == known)
                .then(|| format!("{template}\n  jinja2 {text:?}\n  ours   {:?}", ours.map_err(|error| error.to_string())))
        });
        let differences: Vec<String> = differences.collect();
        assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), probes.len(), differences.join("\n"));
    }
}
