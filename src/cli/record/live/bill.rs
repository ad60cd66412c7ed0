//! What answers cost, as far as the settings have prices: nothing is guessed.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::cli::text::{count, one_line};
use crate::config::{ModelPrice, TokenPrice};
use crate::wire::Usage;

/// The prices by the models' names, as the settings have them.
pub(in crate::cli) type Prices = BTreeMap<String, ModelPrice>;

/// The sum of what answers cost.
#[derive(Debug)]
pub(super) struct Bill {
    prices: Prices,
    dollars: f64,
    /// Answers that have no cost here.
    unknown: usize,
    /// Why the first of them has none.
    first_reason: String,
}

impl Bill {
    pub(super) fn new(prices: Prices) -> Self {
        Self { prices, dollars: 0.0, unknown: 0, first_reason: String::new() }
    }

    /// Adds an answer. `usage`: `None` if its tokens are not all known.
    pub(super) fn add(&mut self, model: Option<&str>, usage: Option<&Usage>) {
        match self.cost(model, usage) {
            Ok(dollars) => self.dollars += dollars,
            Err(reason) => {
                self.unknown += 1;
                if self.unknown == 1 {
                    self.first_reason = reason;
                }
            }
        }
    }

    fn cost(&self, model: Option<&str>, usage: Option<&Usage>) -> Result<f64, String> {
        let model = model.ok_or("no model was named")?;
        let price = self.price_of(model).ok_or_else(|| format!("no price for {}", one_line(model)))?;
        let usage = usage.ok_or("its tokens are not all known")?;
        cost(price, usage).map_err(|reason| format!("{}: {reason}", one_line(model)))
    }

    /// The price under the model's name, or else under the longest beginning of it.
    fn price_of(&self, model: &str) -> Option<&ModelPrice> {
        let begins = |(name, price)| {
            let beginning = String::as_str(name).strip_suffix('*')?;
            model.starts_with(beginning).then_some((beginning.len(), price))
        };
        let longest = || self.prices.iter().filter_map(begins).max_by_key(|(length, _)| *length);
        self.prices.get(model).or_else(|| longest().map(|(_, price)| price))
    }
}

/// What an answer costs, in dollars, or why that is not known.
fn cost(price: &ModelPrice, usage: &Usage) -> Result<f64, String> {
    // No prompt is empty.
    if usage.prompt_tokens() == 0 {
        return Err("the prompt's tokens were not counted".into());
    }
    let written = usage.cache_creation_input_tokens.unwrap_or(0);
    let hour = usage.extra.get("cache_creation").and_then(|kinds| kinds.get("ephemeral_1h_input_tokens"));
    let hour = hour.and_then(Value::as_u64).unwrap_or(0).min(written);
    let parts = [
        ("input", usage.input_tokens, Some(price.input)),
        ("cache_read", usage.cache_read_input_tokens.unwrap_or(0), price.cache_read),
        ("cache_write", written - hour, price.cache_write),
        ("cache_write_1h", hour, price.cache_write_1h),
        ("output", usage.output_tokens, Some(price.output)),
    ];
    let dollars = |(kind, tokens, price): (&str, u64, Option<TokenPrice>)| match tokens {
        0 => Ok(0.0),
        tokens => price.map(|price| price.of(tokens)).ok_or_else(|| format!("its price has no {kind}")),
    };
    parts.into_iter().map(dollars).sum()
}

impl fmt::Display for Bill {
    /// `, $1.23`, with what has no cost; nothing if there are no prices.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prices.is_empty() {
            return Ok(());
        }
        match self.dollars {
            0.0..1.0 => write!(f, ", ${:.4}", self.dollars)?,
            _ => write!(f, ", ${:.2}", self.dollars)?,
        }
        if self.unknown > 0 {
            write!(f, " and {} of unknown cost (the first: {})", count(self.unknown, "answer"), self.first_reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// One model with all prices, and those that begin like it with some.
    pub(in crate::cli::record) fn prices() -> Prices {
        let all = json!({"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75, "cache_write_1h": 6});
        let some = json!({"input": 1, "output": 2});
        serde_json::from_value(json!({"large": all, "small*": some, "small-old*": all})).unwrap()
    }

    fn bill(answers: &[(Option<&str>, Value)]) -> String {
        let mut bill = Bill::new(prices());
        answers.iter().for_each(|(model, usage)| bill.add(*model, Some(&serde_json::from_value(usage.clone()).unwrap())));
        bill.to_string()
    }

    #[test]
    fn each_kind_of_tokens_has_its_price() {
        let million = 1_000_000;
        let usage = json!({"input_tokens": million, "output_tokens": million, "cache_read_input_tokens": million,
            "cache_creation_input_tokens": 3 * million, "cache_creation": {"ephemeral_1h_input_tokens": million}});
        insta::assert_snapshot!(bill(&[(Some("large"), usage)]), @", $31.80");
    }

    #[test]
    fn a_model_is_found_by_its_name_or_the_longest_beginning_of_it() {
        let usage = json!({"input_tokens": 1000, "output_tokens": 0});
        for (model, cost) in [("large", ", $0.0030"), ("small-3", ", $0.0010"), ("small-old-3", ", $0.0030")] {
            assert_eq!(bill(&[(Some(model), usage.clone())]), cost, "{model}");
        }
    }

    #[test]
    fn what_has_no_price_is_said_and_not_guessed() {
        let usage = json!({"input_tokens": 1000, "output_tokens": 0});
        let cached = json!({"input_tokens": 1000, "cache_read_input_tokens": 1, "output_tokens": 0});
        let answers = [
            (Some("large"), usage.clone()),
            (Some("other"), usage.clone()),
            (Some("small"), cached),
            (Some("large"), json!({"output_tokens": 9})),
            (None, usage),
        ];
        insta::assert_snapshot!(bill(&answers), @", $0.0030 and 4 answers of unknown cost (the first: no price for other)");
        assert_eq!(
            bill(&answers[2..3]),
            ", $0.0000 and 1 answer of unknown cost (the first: small: its price has no cache_read)"
        );
        assert_eq!(Bill::new(Prices::new()).to_string(), "");
    }
}
