//! How the work grows with the text, and how much is held back.

use super::super::patterns::{KeyPattern, RULES};
use super::super::{Redactor, StreamRedactor};
use super::delta;

/// What makes the detectors work hardest that do not go by rules: beginnings of secrets.
const OTHERS: [&str; 14] = [
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

/// What makes each detector work hardest: beginnings of secrets, one after the other.
fn worst_cases() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.prefix).chain(OTHERS)
}

/// One rule of each form: they differ in the bytes that can follow and in how many of them.
fn forms() -> Vec<&'static str> {
    let form = |rule: &KeyPattern| (rule.tail, rule.needs_digit, rule.parts.is_empty(), rule.max, rule.min > 20);
    let mut forms: Vec<&KeyPattern> = Vec::new();
    for rule in RULES {
        if !forms.iter().any(|other| form(other) == form(rule)) {
            forms.push(rule);
        }
    }
    forms.into_iter().map(|rule| rule.prefix).collect()
}

/// What a scanner does beyond one look at each byte, for each byte of a text that repeats this and comes in pieces of that size.
fn steps(redactor: &Redactor, case: &str, length: usize, piece: usize) -> f64 {
    let text = case.repeat(length / case.len());
    let mut scanner = redactor.scanner();
    for piece in text.as_bytes().chunks(piece) {
        scanner.push(std::str::from_utf8(piece).unwrap());
        let decided = scanner.decided();
        scanner.found(decided);
    }
    scanner.end();
    scanner.steps() as f64 / text.len() as f64
}

/// Counted, not timed. Everything else that a detector does for a byte does not depend on the bytes before.
#[test]
fn the_work_grows_with_the_text_and_not_faster() {
    let redactor = Redactor::default().for_request([("x-api-key", "zq7-zq7-zq7-zq7-zq8")], "/");
    for case in worst_cases() {
        let (short, long) = (steps(&redactor, case, 1_000, 1), steps(&redactor, case, 3_000, 1));
        assert!(long < short * 1.1 + 0.5 && long < 40.0, "{case:?}: {short:.1}, then {long:.1} steps a byte");
    }
    // Beyond everything that is held back, and in large pieces.
    for case in ["sk-", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----\n-----END ", "\"password\":\"", "zq7-zq7-"] {
        let (short, long) = (steps(&redactor, case, 5_000, 512), steps(&redactor, case, 20_000, 512));
        assert!(long < short * 1.1 + 0.5 && long < 40.0, "{case:?}: {short:.1}, then {long:.1} steps a byte");
    }
}

#[test]
fn little_is_held_back() {
    for case in forms().into_iter().chain(OTHERS) {
        let mut stream = StreamRedactor::new(Redactor::default());
        let pieces = 6_000 / case.len();
        let out: usize = (0..pieces).map(|_| stream.push(delta(case)).len()).sum();
        assert!((pieces - out) * case.len() <= 4200, "{case:?}: {out} of {pieces} deltas");
    }
}
