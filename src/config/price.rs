//! What a model's tokens cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a model's tokens cost, in dollars a million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// Prompt tokens that are neither read from the cache nor written to it.
    pub input: TokenPrice,
    /// Generated tokens.
    pub output: TokenPrice,
    /// Prompt tokens read from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<TokenPrice>,
    /// Prompt tokens written to the cache, for five minutes or without a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<TokenPrice>,
    /// Prompt tokens written to the cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<TokenPrice>,
}

/// Dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct TokenPrice(f64);

impl TokenPrice {
    /// What so many tokens cost, in dollars.
    pub fn of(self, tokens: u64) -> f64 {
        self.0 * tokens as f64 / 1e6
    }
}

impl TryFrom<f64> for TokenPrice {
    type Error = String;

    fn try_from(dollars: f64) -> Result<Self, String> {
        match dollars {
            0.0..=1e9 => Ok(Self(dollars)),
            _ => Err("expected dollars for a million tokens, such as 3 or 0.25".into()),
        }
    }
}

impl From<TokenPrice> for f64 {
    fn from(price: TokenPrice) -> Self {
        price.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_a_number_of_dollars() {
        assert_eq!(TokenPrice::try_from(2.5).map(|price| price.of(200_000)), Ok(0.5));
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(TokenPrice::try_from(wrong).is_err(), "{wrong}");
        }
    }
}
