//! Sizes as people write them.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of bytes: `4GB`, `1.5 GB`, `512MB`, `1000000`. Units are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "String")]
#[schemars(with = "Written")]
pub struct ByteSize(pub u64);

/// A size in a file.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a size such as 4GB or 512MB")]
enum Written {
    /// Bytes.
    Number(u64),
    /// A number, perhaps with a unit.
    Text(String),
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = match lower[digits.len()..].trim().trim_end_matches('b') {
            "" => 1.0,
            "k" => 1e3,
            "m" => 1e6,
            "g" => 1e9,
            "t" => 1e12,
            _ => return Err("expected a size such as 4GB or 512MB".into()),
        };
        match digits.parse::<f64>() {
            Ok(number) if number >= 0.0 && number.is_finite() => Ok(Self((number * unit) as u64)),
            _ => Err("expected a size such as 4GB or 512MB".into()),
        }
    }
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, size) in [("0", 0), ("1000", 1000), ("512MB", 512_000_000), ("1.5 GB", 1_500_000_000), ("2k", 2000), ("7b", 7)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(size)), "{text}");
        }
        for text in ["", "GB", "4XB", "-1", "4GBs", "1e999"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_may_have_the_bare_number() {
        for json in ["10000000000", r#""10GB""#] {
            assert_eq!(serde_json::from_str::<ByteSize>(json).unwrap(), ByteSize(10_000_000_000), "{json}");
        }
        for json in ["-1", "1.5", "true", r#""10XB""#] {
            let refused = serde_json::from_str::<ByteSize>(json).unwrap_err().to_string();
            assert!(refused.starts_with("expected a size such as 4GB or 512MB"), "{json}: {refused}");
        }
    }
}
