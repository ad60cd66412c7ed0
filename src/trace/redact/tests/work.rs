//! How the work grows with the text, and how much is held back.

use super::super::patterns::{KeyPattern, RULES};
use super::super::{Redactor, SecretPattern, StreamRedactor};
use super::delta;
use super::worst_cases::OTHERS;

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

/// What the detectors do beyond one look at each byte, for each byte of a text that repeats this and comes in pieces of that size.
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

/// A redactor that knows the client's credentials.
fn of_a_request(patterns: &[&str]) -> Redactor {
    let patterns: Vec<SecretPattern> =
        patterns.iter().map(|pattern| SecretPattern::try_from((*pattern).to_owned()).unwrap()).collect();
    Redactor::new(&patterns).for_request([("x-api-key", "zq7-zq7-zq7-zq7-zq8")], "/")
}

/// Counted, not timed. Everything else that a detector does for a byte does not depend on the bytes before.
#[test]
fn the_work_grows_with_the_text_and_not_faster() {
    let redactor = of_a_request(&[]);
    for case in worst_cases() {
        let (short, long) = (steps(&redactor, case, 1_000, 1), steps(&redactor, case, 3_000, 1));
        assert!(long < short * 1.1 + 0.5 && long < 40.0, "{case:?}: {short:.1}, then {long:.1} steps a byte");
    }
    // Beyond everything that is held back, and in large pieces; with patterns of the user's too.
    let with_patterns = of_a_request(&["ACME-[0-9]{4}", "(ACME-)+x", "[A-Z]{4}-[0-9]+[a-f]+!"]);
    for case in forms().into_iter().chain(OTHERS) {
        for redactor in [&redactor, &with_patterns] {
            let (short, long) = (steps(redactor, case, 10_000, 512), steps(redactor, case, 40_000, 512));
            assert!(long < short * 1.1 + 0.5 && long < 40.0, "{case:?}: {short:.1}, then {long:.1} steps a byte");
        }
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
