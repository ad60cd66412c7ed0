//! Shapes of secrets in all places of an exchange, ordinary texts that must stay, and how the work grows.
//!
//! Everything that looks like a secret is put together at run time, so that none stands in the source.

mod kinds;
mod places;
mod shapes;
mod work;
mod worst_cases;

use serde_json::json;

use self::kinds::{CAPITALS, HEX, LETTERS, mixed};
use super::patterns::{KeyPattern, Tail};
use super::{Redactor, StreamRedactor};
use crate::trace::RecordedEvent;

/// What can follow the prefix of a rule.
fn tail(rule: &KeyPattern, length: usize) -> String {
    match rule.tail {
        Tail::Capitals => mixed(CAPITALS, length),
        Tail::Hex => mixed(HEX, length),
        _ if rule.parts.is_empty() => mixed(LETTERS, length),
        _ => rule.parts.iter().map(|(min, _)| mixed(LETTERS, *min)).collect::<Vec<_>>().join("."),
    }
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
