//! Shapes of secrets in all places of an exchange, ordinary texts that must stay, and how the work grows.
//!
//! Everything that looks like a secret is put together at run time, so that none stands in the source.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::patterns::{AWS_SECRET, RULES, Rule, Tail};
use super::{REDACTED, Redactor, StreamRedactor};
use crate::trace::RecordedEvent;

const LETTERS: &[u8] = b"Zk3vQ9xT1mB7wR5hJ2nF8cY4dL6gPsUaEeKiOo0";
const CAPITALS: &[u8] = b"Q7ZK3XW5B2MT9RHJ4NF8CY6DLGPSVUAE";
const HEX: &[u8] = b"9f3c1a7e5b0d2846";

/// Bytes of an alphabet that look like chance, `length` of them.
fn mixed(alphabet: &[u8], length: usize) -> String {
    (0..length).map(|at| char::from(alphabet[(at * 7 + at / alphabet.len() * 3 + length) % alphabet.len()])).collect()
}

/// What can follow the prefix of a rule.
fn tail(rule: &Rule, length: usize) -> String {
    match rule.tail {
        Tail::Capitals => mixed(CAPITALS, length),
        Tail::Hex => mixed(HEX, length),
        _ if rule.parts.is_empty() => mixed(LETTERS, length),
        _ => rule.parts.iter().map(|(min, _)| mixed(LETTERS, *min)).collect::<Vec<_>>().join("."),
    }
}

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
    let own = |rule: &Rule| shape(rule.prefix, tail(rule, rule.min), "");
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

fn delta(text: &str) -> RecordedEvent {
    let data = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    RecordedEvent { at_us: 1, event: "content_block_delta".into(), data }
}

/// The text of a stream after redaction, as the deltas add it up.
fn streamed<'a>(redactor: &Redactor, pieces: impl IntoIterator<Item = &'a str>) -> String {
    let mut stream = StreamRedactor::new(redactor.clone());
    let mut events: Vec<RecordedEvent> = pieces.into_iter().flat_map(|piece| stream.push(delta(piece))).collect();
    events.extend(stream.finish());
    events.iter().filter_map(|event| event.data["delta"]["text"].as_str()).collect()
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
        for text in [text, &once] {
            let whole = redactor.text(text);
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                assert_eq!(streamed(&redactor, [&text[..cut], &text[cut..]]), whole, "cut at {cut}: {text}");
            }
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

#[test]
fn ordinary_text_stays() {
    let texts = [
        "task-force sk-learn risk-averse-people, the bearer of this letter, bearer authentication, basic authentication",
        "sk-ant-... is what keys look like; asia and akia; NOT_A_KEY Most Notably, Once Upon A Time",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "grep -rn \"-----BEGIN PRIVATE KEY-----\" . | head",
        "\"max_tokens\": 5, \"token\": \"word\", \"secret\": true, \"api_key\": {\"type\": \"string\"}, \"password\": 5",
        "\"input_tokens\": 12, \"cache_creation_input_tokens\": 0, \"budget_tokens\": 1024, \"max_tokens\": 32000",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8\nAuthor: A <a@b.example>\nindex 83db48f..bf269f4 100644",
        "{\"id\": \"toolu_01A09q90qw90lq917835lq9\", \"tool_use_id\": \"550e8400-e29b-41d4-a716-446655440000\"}",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 checksum = \"c982642fa9e8606056828ee9a8\"",
        "\"integrity\": \"sha512-2Q3ZpVt7bK0m8Xw1yR5nH4cJ9dL6gPsUaEeKiOoZk3vQ9xT1mB7wR5hJ2nF8cY4d==\"",
        "def login(password: str, token: Optional[str] = None) -> Token: return Token(password=password, token=token)",
        "interface Login { password: string; apiKey: string; token?: string }",
        "let token = tokens.next(); let key = map.keys().next(); if key == other_key { }",
        "const apiKey = process.env.API_KEY; const secret = os.getenv(name); password = get_password(user)",
        "API_KEY=$API_KEY DB_PASSWORD=${DB_PASSWORD} curl -H \"x-api-key: $KEY\" -H 'Authorization: Bearer $TOKEN'",
        "password: <your password>, api_key: \"\", secret: \"***\", API_KEY=xxxx-xxxx",
        "{\"key\": \"ctrl+shift+p\", \"issue_key\": \"PROJ-12345\", \"cache_key\": \"v2-linux-node-20\", \"next_page_token\": \"CAUQAA123456\"}",
        "key = \"models/claude-sonnet-4-5-20250929/config.json\"",
        "{\"ask\":\"Enter password:\",\"then\":\"x\"} [\"secret:\",\"y\"] print(\"token: \") {\"q\":\"api_key=\"}",
        "http://localhost:8080/a@b https://example.org:443 ssh://git@github.com:22/x git@github.com:a/b.git",
        "The password must be at least 8 characters. Password: required. Tokens: 512. The secret is to wait.",
        "Some(Token::Word) => \"key\": \"value\", assert_eq!(key, \"a\"); std::path::Path; secret::Store",
        "{\"type\":\"thinking\",\"signature\":\"EqQBCkYIBxgCKkBzZk3vQ9xT1mB7wR5hJ2nF8cY4dL6gPsUaEeKiOo==\"}",
        "C:\\new\\token\\report.txt 100%abcd é\"é-----é \u{1f980}",
        "",
        "\"",
    ];
    for text in texts {
        assert_eq!(Redactor::default().text(text), text);
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert_eq!(streamed(&Redactor::default(), [&text[..cut], &text[cut..]]), text);
        }
    }
}

#[test]
fn the_committed_traces_stay() {
    let redactor = Redactor::default();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let traces = crate::trace::find(&[folder]).unwrap();
    assert!(traces.len() > 10);
    for path in traces {
        let trace = crate::trace::read(&path).unwrap();
        let mut clean = trace.clone();
        redactor.json(&mut clean.request.body);
        redactor.json(&mut clean.response.body);
        let mut stream = StreamRedactor::new(redactor.clone());
        clean.response.events = trace.response.events.iter().flat_map(|event| stream.push(event.clone())).collect();
        clean.response.events.extend(stream.finish());
        assert!(clean == trace, "{}", path.display());
    }
}

/// What makes each detector work hardest: beginnings of secrets, one after the other.
fn worst_cases() -> Vec<String> {
    let others = [
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----\n-----END ",
        "://a:",
        "\"password\":\"",
        "password=",
        "\\\"token\\\":\\\"",
        "a=",
        "\\",
        "\\u0026",
        "zq7-zq7-",
        "\"",
        "authorization: x ",
        "cookie: a;",
        "AKIA0000000000000000 ",
    ];
    RULES.iter().map(|rule| rule.prefix).chain(others).map(String::from).collect()
}

#[test]
fn the_work_grows_with_the_text_and_not_faster() {
    let redactor = Redactor::for_request([("x-api-key", "zq7-zq7-zq7-zq7-zq8")], "/");
    let steps = |case: &str, length: usize, piece: usize| {
        let text = case.repeat(length / case.len());
        let mut scanner = redactor.scanner();
        for piece in text.as_bytes().chunks(piece) {
            scanner.push(std::str::from_utf8(piece).unwrap());
            let decided = scanner.decided();
            scanner.found(decided);
        }
        scanner.end();
        scanner.steps() as f64 / text.len() as f64
    };
    for case in worst_cases() {
        for piece in [1, 4096] {
            let (short, long) = (steps(&case, 5_000, piece), steps(&case, 20_000, piece));
            assert!(long < short * 1.1 && long < 40.0, "{case:?} by {piece}: {short:.1}, then {long:.1} steps a byte");
        }
    }
}

#[test]
fn little_is_held_back() {
    for case in worst_cases() {
        let mut stream = StreamRedactor::new(Redactor::default());
        let pieces = 10_000 / case.len();
        let out: usize = (0..pieces).map(|_| stream.push(delta(&case)).len()).sum();
        assert!((pieces - out) * case.len() <= 4200, "{case:?}: {out} of {pieces} deltas");
    }
}
