//! Every rule and every name, whole and in streams cut anywhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::patterns::{AWS_SECRET, KeyPattern, RULES};
use super::super::{REDACTED, Redactor};
use super::{CAPITALS, LETTERS, mixed, streamed, tail};

/// A text with a secret in it.
struct Shape {
    text: String,
    secret: String,
}

fn shape(before: &str, secret: impl Into<String>, after: &str) -> Shape {
    let secret = secret.into();
    Shape { text: format!("{before}{secret}{after}"), secret }
}

/// All rules, the base64 of their keys, and everything that is found by its name or its surroundings.
fn shapes() -> Vec<Shape> {
    let key = |length| mixed(LETTERS, length);
    let own = |rule: &KeyPattern| shape(rule.prefix, tail(rule, rule.min), "");
    let mut shapes: Vec<Shape> = RULES.iter().map(own).collect();
    shapes.push(shape("", STANDARD.encode(format!("{}{}", RULES[0].prefix, key(40))), ""));
    shapes.push(shape("", STANDARD.encode(format!("-----BEGIN {} KEY-----\nMIIE{}", "RSA PRIVATE", key(60))), ""));
    shapes.push(shape(&format!("{}{},", "AKIA", mixed(CAPITALS, 16)), key(AWS_SECRET.min), "\n"));
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
        let body = format!("{}\n{}", key(64), key(40));
        shapes.push(shape(&format!("-----BEGIN {label}-----\n"), body, &format!("\n-----END {label}-----\n")));
    }
    let telegram = format!("AA{}", key(33));
    shapes.push(shape("123456789:", telegram.clone(), ""));
    shapes.push(shape("https://api.telegram.org/bot123456789:", telegram, "/getMe"));
    for (before, after) in [
        ("postgres://app:", "@db.example/x"),
        ("https://user:", "@git.example/x.git"),
        ("redis://:", "@cache:6379"),
        ("DB_PASSWORD=", ""),
        ("export API_KEY=\"", "\""),
        ("API_TOKEN='", "' run"),
        ("password: ", "\n"),
        ("  db_password: ", ", user: x"),
        ("password = \"", "\"\n"),
        ("const apiKey: string = \"", "\";"),
        ("secret := `", "`"),
        ("\"token\":\"", "\""),
        ("{\"authorization_token\": \"", "\"}"),
        ("{\\\"clientSecret\\\": \\\"", "\\\"}"),
        ("os.environ[\"API_KEY\"] = \"", "\""),
        ("login --password ", " --user me"),
        ("login --api-key=", " --user me"),
        ("<password>", "</password>"),
        ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=", ";EndpointSuffix=x"),
        ("Endpoint=sb://x/;SharedAccessKey=", ""),
        ("aws_secret_access_key = ", "\n"),
        ("//registry.example/:_authToken=", "\n"),
        ("https://x.blob.example/a?sv=1&sig=", "&se=2"),
        ("https://x.example/a?token=", ""),
        ("curl -H 'x-corp-auth: ", "' x"),
        ("Authorization: Token ", "\n"),
        ("Authorization: Basic ", "\n"),
        ("curl -H \"Cookie: theme=dark; sid=", "\" x"),
        ("datadog_key: ", "\n"),
    ] {
        shapes.push(shape(before, key(32), after));
    }
    for (before, after) in [("DB_PASSWORD=", ""), ("password: ", "\n"), ("{\"password\":\"", "\"}"), ("ftp://me:", "@host/")] {
        shapes.push(shape(before, format!("{}{}", "hunter", "2aB"), after));
    }
    shapes
}

fn leaks(written: &str, shape: &Shape) -> bool {
    let part = shape.secret.len().min(8);
    shape.secret.as_bytes().windows(part).any(|part| written.as_bytes().windows(part.len()).any(|bytes| bytes == part))
}

fn assert_kept_out(place: &str, written: &str, shape: &Shape) {
    assert!(!leaks(written, shape), "{place}: {} became {written}", shape.text);
    assert!(written.contains(REDACTED), "{place}: {written}");
}

#[test]
fn there_are_more_than_sixty_shapes() {
    assert!(shapes().len() > 100, "{}", shapes().len());
}

#[test]
fn no_shape_is_left_in_any_place() {
    let redactor = Redactor::default();
    for shape in shapes() {
        let text = shape.text.as_str();
        let once = json!({ "arguments": text }).to_string();
        let twice = json!({ "arguments": once }).to_string();
        let mut request = json!({
            "system": text, "tools": [{"name": "t", "input_schema": {"default": text}}],
            "messages": [{"role": "user", "content": [{"type": "tool_result", "content": format!("see\n{text}")}]}],
        });
        redactor.json(&mut request);
        for pointer in ["/system", "/tools/0/input_schema/default", "/messages/0/content/0/content"] {
            assert_kept_out(pointer, request.pointer(pointer).and_then(Value::as_str).unwrap(), &shape);
        }
        let mut error = json!({"error": {"message": format!("cannot use {text}")}});
        redactor.json(&mut error);
        assert_kept_out("error", &error.to_string(), &shape);
        let header = Value::Object(redactor.headers([("x-echo", text)]));
        assert_kept_out("header", &header.to_string(), &shape);
        assert_kept_out(
            "header's value",
            &Value::Object(redactor.headers([("x-my-auth", shape.secret.as_str())])).to_string(),
            &shape,
        );
        assert_kept_out("query", &redactor.path(&format!("/v1/messages?note={text}")), &shape);
        assert_kept_out("parameter", &redactor.path(&format!("/v1/messages?beta=true&sig={}", shape.secret)), &shape);
        for text in [text, &once, &twice] {
            let whole = redactor.text(text);
            assert_kept_out("text", &whole, &shape);
            assert_eq!(redactor.text(&whole), whole, "redacting again changes something");
            let letters: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(streamed(&redactor, letters.iter().map(String::as_str)), whole, "letter by letter: {text}");
        }
        let whole = redactor.text(text);
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert_eq!(streamed(&redactor, [&text[..cut], &text[cut..]]), whole, "cut at {cut}: {text}");
        }
        // What was JSON is JSON.
        let clean = redactor.text(&once).into_owned();
        assert!(serde_json::from_str::<Value>(&clean).is_ok(), "{clean}");
    }
}

#[test]
fn the_base64_of_every_long_enough_prefix_is_found() {
    for rule in RULES.iter().filter(|rule| rule.prefix.len() >= 4 && !rule.prefix.ends_with(' ')) {
        let secret = STANDARD.encode(format!("{}{}", rule.prefix, mixed(LETTERS, 40)));
        assert_eq!(Redactor::default().text(&format!("data: {secret} end")), "data: [redacted] end", "{}", rule.prefix);
    }
}

#[test]
fn a_key_that_is_too_short_is_none() {
    for rule in RULES.iter().filter(|rule| rule.parts.is_empty() && rule.min > 1) {
        let text = format!("{}{} x", rule.prefix, tail(rule, rule.min - 1));
        assert_eq!(Redactor::default().text(&text), text);
    }
}
