//! What a schema demands of a value, in numbers.

use std::collections::BTreeMap;
use std::rc::Rc;

/// How two demands come together. Counts saturate.
#[derive(Clone, Copy)]
pub(super) enum Applies {
    /// Both apply to a value.
    Both,
    /// One of them applies: the most that any demands is assumed.
    Either,
}

impl Applies {
    /// The number of schemas, expressions or limits that apply.
    pub(super) fn count(self, ours: usize, theirs: usize) -> usize {
        match self {
            Self::Both => ours.saturating_add(theirs),
            Self::Either => ours.max(theirs),
        }
    }

    /// The number of combinations.
    pub(super) fn combinations(self, ours: usize, theirs: usize) -> usize {
        match self {
            Self::Both => ours.saturating_mul(theirs),
            Self::Either => ours.saturating_add(theirs),
        }
    }

    /// The number that a value must be a multiple of.
    pub(super) fn divisor(self, ours: usize, theirs: usize) -> usize {
        match self {
            Self::Both => ours.saturating_mul(theirs),
            Self::Either => ours.max(theirs),
        }
    }
}

/// What a schema demands of one value, and of the values inside it.
#[derive(Clone)]
pub(super) struct Demand {
    /// Number of schemas that apply.
    pub schemas: usize,
    /// Number of regular expressions that apply.
    pub expressions: usize,
    /// Number of alternatives, each counted three times for every expression in it.
    pub combinations: usize,
    /// The number that the value must be a multiple of, as [`divisor`] has it.
    pub divisor: usize,
    /// How many limits there are for the number of properties.
    pub limits: usize,
    /// Of the named properties.
    pub properties: BTreeMap<String, Rc<Demand>>,
    /// The most that is demanded of any other property, or of an item.
    pub others: Option<Rc<Demand>>,
}

impl Default for Demand {
    /// Of a schema that allows anything.
    fn default() -> Self {
        Self { schemas: 0, expressions: 0, combinations: 1, divisor: 1, limits: 0, properties: BTreeMap::new(), others: None }
    }
}

/// What of a number decides how many states the automaton of its multiples has: its digits as a whole number, without factors 2
/// and 5. `usize::MAX` if these are too many.
pub(super) fn divisor(number: f64) -> usize {
    let mut digits = number.abs();
    while digits.fract() != 0.0 && digits < u32::MAX.into() {
        digits *= 10.0;
    }
    if !digits.is_finite() || digits > u32::MAX.into() {
        return usize::MAX;
    }
    let mut divisor = digits as usize;
    for factor in [2, 5] {
        while divisor > 0 && divisor.is_multiple_of(factor) {
            divisor /= factor;
        }
    }
    divisor.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_makes_remainders_is_in_a_divisor() {
        let cases = [(1e6, 1), (0.01, 1), (0.25, 1), (2.4, 3), (0.0, 1), (-7.0, 7), (4_294_967_291.0, 4_294_967_291)];
        for (number, expected) in cases.into_iter().chain([(1e-320, usize::MAX), (1e300, usize::MAX), (0.07, usize::MAX)]) {
            assert_eq!(divisor(number), expected, "{number}");
        }
    }
}
