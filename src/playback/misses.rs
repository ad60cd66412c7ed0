//! What requests without a recording were told.

use std::collections::HashMap;

/// The most different texts that are kept: a client that sends other requests again and again must not fill the memory.
const MOST_KEPT: usize = 100;

/// The requests without a recording that nobody answered.
#[derive(Clone, Debug, Default)]
pub struct Misses {
    kept: Vec<Miss>,
    /// Where in `kept` a text is.
    places: HashMap<String, usize>,
    not_kept: usize,
}

/// What requests were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Why there is no recording.
    pub why: String,
    /// How many were told this: a client that tries again misses again.
    pub times: usize,
}

impl Misses {
    pub(super) fn add(&mut self, why: String) {
        if let Some(place) = self.places.get(&why) {
            self.kept[*place].times += 1;
        } else if self.kept.len() < MOST_KEPT {
            self.places.insert(why.clone(), self.kept.len());
            self.kept.push(Miss { why, times: 1 });
        } else {
            self.not_kept += 1;
        }
    }

    /// What they were told, each once, in the order of the first.
    pub fn kept(&self) -> &[Miss] {
        &self.kept
    }

    /// How many requests more there were, whose texts are not kept.
    pub fn not_kept(&self) -> usize {
        self.not_kept
    }

    /// How many requests.
    pub fn total(&self) -> usize {
        self.kept.iter().map(|miss| miss.times).sum::<usize>() + self.not_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once_and_not_too_many() {
        let mut misses = Misses::default();
        for nth in 0..MOST_KEPT + 5 {
            misses.add(nth.to_string());
            misses.add("1".to_owned());
        }
        assert_eq!((misses.kept().len(), misses.not_kept(), misses.total()), (MOST_KEPT, 5, 2 * (MOST_KEPT + 5)));
        assert_eq!(misses.kept()[1], Miss { why: "1".into(), times: MOST_KEPT + 6 });
    }
}
