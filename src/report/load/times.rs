//! A distribution of times that can be written, read back and added to another without loss.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::report::Distribution;
use crate::report::latency::DistributionSummary;

/// A distribution of times, with all of its counts.
#[derive(Clone, Debug)]
pub struct Times(Distribution);

/// How it is written.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Written {
    #[serde(flatten)]
    summary: DistributionSummary,
    /// The buckets of the HdrHistogram that are not empty: the highest time of each, in microseconds, and how many there are.
    counts: Vec<(u64, u64)>,
}

impl Times {
    /// The distribution of these times, in microseconds.
    pub fn of(times_us: impl Iterator<Item = u64>) -> Self {
        Self(Distribution::of(times_us))
    }

    /// The distribution.
    pub fn distribution(&self) -> &Distribution {
        &self.0
    }

    /// Both together.
    pub(super) fn added(&self, other: &Self) -> Self {
        Self(self.0.added(&other.0))
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let buckets = self.0.histogram().iter_recorded();
        let counts = buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect();
        Written { summary: self.0.summary(), counts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { summary, counts } = Written::deserialize(deserializer)?;
        Ok(Self(Distribution::of_counts(&counts, summary.min_us.zip(summary.max_us))))
    }
}

impl JsonSchema for Times {
    fn schema_name() -> Cow<'static, str> {
        "Times".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two halves that were written and read back are, added, what all times together are.
        #[test]
        fn halves_add_up_to_the_whole(one in proptest::collection::vec(0u64..200_000_000_000, 0..60), other in proptest::collection::vec(0u64..10_000_000, 0..60)) {
            let read = |times: &[u64]| -> Times {
                serde_json::from_str(&serde_json::to_string(&Times::of(times.iter().copied())).unwrap()).unwrap()
            };
            let added = read(&one).added(&read(&other));
            let whole = Times::of(one.iter().chain(&other).copied());
            prop_assert_eq!(serde_json::to_value(&added).unwrap(), serde_json::to_value(&whole).unwrap());
        }
    }
}
