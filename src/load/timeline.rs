//! The time of a recording without its long pauses. Pure.

use std::time::Duration;

/// A moment in microseconds of Unix time.
pub(super) type Moment = i128;

/// The time of a recording. Where nobody waited for an answer for long, time was cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    first: Moment,
    last: Moment,
    /// Each moment at which something began after a long pause, and how much had been left out until then, in microseconds.
    cuts: Vec<(Moment, Moment)>,
}

impl Timeline {
    /// The time in which there were these exchanges, given by beginning and end. No pause in it is longer than the longest.
    pub(super) fn of(mut exchanges: Vec<(Moment, Moment)>, longest_pause: Duration) -> Self {
        exchanges.sort_unstable();
        let Some((first, _)) = exchanges.first().copied() else { return Self::default() };
        let longest = micros(longest_pause);
        let (mut last, mut left_out, mut cuts) = (first, 0, Vec::new());
        for (begins, ends) in exchanges {
            if begins - last > longest {
                left_out += begins - last - longest;
                cuts.push((begins, left_out));
            }
            last = last.max(ends).max(begins);
        }
        Self { first, last, cuts }
    }

    /// How long after the beginning a moment is at which an exchange began or ended.
    pub(super) fn at(&self, moment: Moment) -> Duration {
        let cuts = self.cuts.partition_point(|(from, _)| *from <= moment);
        let left_out = cuts.checked_sub(1).map_or(0, |nth| self.cuts[nth].1);
        duration(moment - self.first - left_out)
    }

    /// The end of the last answer.
    pub(super) fn lasts(&self) -> Duration {
        self.at(self.last)
    }

    /// How many pauses were cut, and how much of them was left out.
    pub(super) fn left_out(&self) -> (usize, Duration) {
        (self.cuts.len(), self.cuts.last().map_or(Duration::ZERO, |(_, left_out)| duration(*left_out)))
    }
}

/// As many microseconds as moments are counted in.
pub(super) fn micros(duration: Duration) -> Moment {
    // 128 bits hold every duration's microseconds with and without a sign.
    duration.as_micros() as Moment
}

/// None for what lies before the beginning, and half a million years for all that is longer.
fn duration(us: Moment) -> Duration {
    Duration::from_micros(us.clamp(0, u64::MAX.into()) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_are_cut_to_the_longest() {
        let s = 1_000_000;
        // A day, then two answers side by side, then half a minute, then two minutes.
        let exchanges = vec![
            (0, 5 * s),
            (86_400 * s, 86_410 * s),
            (86_402 * s, 86_404 * s),
            (86_440 * s, 86_441 * s),
            (86_561 * s, 86_562 * s),
        ];
        let timeline = Timeline::of(exchanges.clone(), Duration::from_secs(60));
        let begins: Vec<_> = exchanges.iter().map(|(begins, _)| timeline.at(*begins).as_secs()).collect();
        assert_eq!(begins, [0, 65, 67, 105, 166]);
        assert_eq!(timeline.lasts(), Duration::from_secs(167));
        assert_eq!(timeline.left_out(), (2, Duration::from_secs(86_395)));
    }

    proptest! {
        /// Whatever the clocks said, nothing begins before what began before it, and no answer is shorter or longer.
        #[test]
        fn order_and_answers_stay(exchanges in proptest::collection::vec((-1_000_000i128..1_000_000_000_000, 0i128..100_000_000), 1..20), longest in 1u64..10_000) {
            let exchanges: Vec<_> = exchanges.into_iter().map(|(begins, took)| (begins, begins + took)).collect();
            let timeline = Timeline::of(exchanges.clone(), Duration::from_secs(longest));
            for (begins, ends) in &exchanges {
                prop_assert_eq!(timeline.at(*ends) - timeline.at(*begins), Duration::from_micros((ends - begins) as u64));
                for (other, _) in &exchanges {
                    prop_assert!(begins > other || timeline.at(*begins) <= timeline.at(*other));
                }
            }
        }
    }
}
