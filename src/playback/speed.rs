//! How fast recorded answers come.

use std::str::FromStr;
use std::time::Duration;

/// How fast recorded answers come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// At once.
    #[default]
    Max,
    /// So many times as fast as they were recorded.
    Times(f64),
}

impl Speed {
    /// How long after its request an event comes that was recorded after so many microseconds.
    pub(super) fn at(self, recorded_us: u64) -> Duration {
        match self {
            Self::Max => Duration::ZERO,
            // The longest recorded time, at the least speed, is within what a duration holds.
            Self::Times(times) => Duration::try_from_secs_f64(recorded_us as f64 / 1e6 / times).unwrap_or(Duration::MAX),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.parse().ok().filter(|times| (0.001..=1000.0).contains(times));
        times
            .map(Self::Times)
            .ok_or_else(|| "a speed is max, or how many times as fast as recorded, from 0.001 to 1000".to_owned())
    }
}
