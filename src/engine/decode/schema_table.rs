//! Answers held to each schema of a table: a model that chooses any allowed token at random writes valid JSON, or the schema is
//! refused with the path of the part that cannot be enforced.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fuzz::{FORMS, decoders, generate, with_short_exponents};
use super::{AnswerDecoders, Piece};
use crate::wire::MessagesRequest;

/// One line of the table.
#[derive(Deserialize)]
#[serde(from = "Line")]
struct Case {
    name: String,
    schema: Value,
    /// How the refusal begins; `None` where the schema is enforced in full.
    refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Enforced(String, Value),
    Refused(String, Value, String),
}

impl From<Line> for Case {
    fn from(line: Line) -> Self {
        match line {
            Line::Enforced(name, schema) => Self { name, schema, refused: None },
            Line::Refused(name, schema, refused) => Self { name, schema, refused: Some(refused) },
        }
    }
}

fn cases() -> Vec<Case> {
    let table = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/output-schemas.jsonl"));
    table.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn request(schema: &Value) -> MessagesRequest {
    let format = json!({"type": "json_schema", "schema": schema});
    let body = json!({"model": "m", "max_tokens": 1, "messages": [], "output_config": {"format": format}});
    serde_json::from_value(body).unwrap()
}

/// What is wrong with the answers of this case, if anything.
fn fault(decoders: &AnswerDecoders, Case { schema, refused, .. }: &Case, seed: u64) -> Option<String> {
    let request = request(schema);
    match (decoders.start(&request, None), refused) {
        (Err(error), Some(expected)) => {
            return (!error.to_string().starts_with(expected)).then(|| format!("refused with {error}"));
        }
        (Err(error), None) => return Some(format!("refused: {error}")),
        (Ok(_), Some(_)) => return Some("is not refused".into()),
        (Ok(_), None) => {}
    }
    let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let mut finished = 0;
    for _ in 0..8 {
        let (pieces, over) = generate(&mut decoders.start(&request, None).unwrap(), &mut random, 200);
        let text: String = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "not text" }).collect();
        if !over {
            continue;
        }
        finished += 1;
        match serde_json::from_str(&with_short_exponents(&text)) {
            Err(error) => return Some(format!("{error}: {text}")),
            Ok(answer) => {
                if let Err(error) = validator.validate(&answer) {
                    return Some(format!("{error}: {text}"));
                }
            }
        }
    }
    (finished == 0).then(|| "no answer was finished".into())
}

#[test]
fn every_answer_fits_its_schema_or_the_schema_is_refused() {
    let decoders = decoders(FORMS[0]);
    let cases = cases();
    assert!(cases.len() > 100);
    let faults = cases.iter().enumerate().filter_map(|(at, case)| {
        let fault = fault(&decoders, case, at as u64)?;
        Some(format!("{}: {fault}", case.name))
    });
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}
