//! How large the automaton of a pattern may become: counted repetitions multiply where they are nested.

use regex_syntax::hir::{Hir, HirKind};

/// Largest size that is enforced, in characters of the pattern with its repetitions written out.
const LARGEST: usize = 5_000;

/// Whether a pattern, written out, is too large to follow. What is no pattern at all is not: the compiler says so itself.
pub(super) fn is_too_large(pattern: &str) -> bool {
    match regex_syntax::Parser::new().parse(pattern) {
        Ok(parsed) => size(&parsed) > LARGEST,
        // The parser's own bound on nesting is not ours.
        Err(_) => false,
    }
}

/// The size of a pattern. Saturates.
fn size(part: &Hir) -> usize {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            size(&repetition.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(group) => size(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(size).fold(0, usize::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_repetitions_multiply() {
        for fine in ["^[a-z]{1,128}$", "^(a{50}b{50}){20}$", "(", "(?=x)", "^.*x.*$", "a{2000}", ""] {
            assert!(!is_too_large(fine), "{fine}");
        }
        for large in ["^a{60000}$", "^((a{1000}){1000}){1000}$", "^((a{1000}){100}){10}$", "^(a{100}b{100}){1000}$"] {
            assert!(is_too_large(large), "{large}");
        }
    }
}
