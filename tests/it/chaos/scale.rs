//! How much is done.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The requests of the long form.
const LONG: usize = 1000;

/// How often the long form kills.
const KILLS: usize = 200;

/// How much is done, and the seed of everything that is left to chance.
pub(super) struct Scale {
    /// Requests of all cases together, about.
    requests: usize,
    /// How often programs are killed.
    pub kills: usize,
    /// The long answer of one case, in MB.
    pub megabytes: usize,
    /// How much later another client's token may come while grammars of hostile schemas are compiled; `None` where other tests
    /// use the machine at the same time, which says nothing about times.
    #[cfg_attr(not(feature = "mlx"), expect(dead_code, reason = "there is no server of grammars then"))]
    pub most_delay: Option<Duration>,
    pub seed: u64,
}

impl Scale {
    /// What every test run does, with the same seed each time.
    pub(super) fn short() -> Self {
        Self { requests: 150, kills: 10, megabytes: 20, most_delay: None, seed: 1 }
    }

    /// What `make chaos` does: the environment says how much, and names the seed if it is not to be a new one.
    pub(super) fn from_environment() -> Self {
        let number = |name: &str| std::env::var(format!("ANYCLAUDE_CHAOS_{name}")).ok().map(|text| text.parse().unwrap());
        Self {
            requests: number("REQUESTS").map_or(LONG, |requests: u64| requests as usize),
            kills: number("KILLS").map_or(KILLS, |kills: u64| kills as usize),
            megabytes: 100,
            most_delay: Some(Duration::from_millis(100)),
            seed: number("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
        }
    }

    /// The requests of a case that has `share` of a thousand; at least one.
    pub(super) fn of(&self, share: usize) -> usize {
        (self.requests * share / LONG).max(1)
    }

    /// Numbers of chance for a case, the same for the same seed.
    pub(super) fn random(&self, case: &str) -> StdRng {
        let name: u64 = case.bytes().fold(0, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
        StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(name))
    }
}
