//! Ids that look like Anthropic's.

use rand::Rng;
use rand::distr::Alphanumeric;

/// A new id: `prefix` (`msg_`, `toolu_`, `req_`) and 24 random letters and digits.
pub fn random_id(prefix: &str) -> String {
    let random = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from);
    prefix.chars().chain(random).collect()
}
