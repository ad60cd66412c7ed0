//! What answers cost, as far as the settings have prices: nothing is guessed.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::cli::text::count;
use crate::config::{ModelPrice, TokenPrice};
use crate::wire::Usage;

/// The prices by the models' names, as the settings have them.
pub(in crate::cli) type Prices = BTreeMap<String, ModelPrice>;

/// The sum of what answers cost.
#[derive(Debug)]
pub(super) struct Bill {
    prices: Prices,
    dollars: f64,
    /// Answers that have no cost here: no price of their model, or of a kind of their tokens, or no or not all token counts.
    unknown: usize,
}

impl Bill {
    pub(super) fn new(prices: Prices) -> Self {
        Self { prices, dollars: 0.0, unknown: 0 }
    }

    /// Adds an answer. `usage`: `None` if its tokens are not all known.
    pub(super) fn add(&mut self, model: Option<&str>, usage: Option<&Usage>) {
        let price = model.and_then(|model| self.price_of(model));
        match price.zip(usage).and_then(|(price, usage)| cost(price, usage)) {
            Some(dollars) => self.dollars += dollars,
            None => self.unknown += 1,
        }
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

/// What an answer costs, in dollars; `None` if its prompt was not counted, or it has tokens of a kind without a price.
fn cost(price: &ModelPrice, usage: &Usage) -> Option<f64> {
    // No prompt is empty.
    if usage.prompt_tokens() == 0 {
        return None;
    }
    let written = usage.cache_creation_input_tokens.unwrap_or(0);
    let hour = usage.extra.get("cache_creation").and_then(|kinds| kinds.get("ephemeral_1h_input_tokens"));
    let hour = hour.and_then(Value::as_u64).unwrap_or(0).min(written);
    let parts = [
        (usage.input_tokens, Some(price.input)),
        (usage.cache_read_input_tokens.unwrap_or(0), price.cache_read),
        (written - hour, price.cache_write),
        (hour, price.cache_write_1h),
        (usage.output_tokens, Some(price.output)),
    ];
    let dollars = |(tokens, price): (u64, Option<TokenPrice>)| match tokens {
        0 => Some(0.0),
        tokens => price.map(|price| price.of(tokens)),
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
            write!(f, " and {} of unknown cost", count(self.unknown, "answer"))?;
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
        insta::assert_snapshot!(bill(&answers), @", $0.0030 and 4 answers of unknown cost");
        assert_eq!(Bill::new(Prices::new()).to_string(), "");
    }
}
