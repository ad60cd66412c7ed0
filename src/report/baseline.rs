//! Whether a replay became slower than an earlier one, whose `--json` file is the baseline. Pure.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{ComparedTimes, Interval, interval, ratio};
use super::figures_file::{FiguresError, FiguresKind, read};
use super::sureness::drops;
use super::{Distribution, MarginDrop, Metric, VERSION};
use crate::replay::{CaseResult, KnownAnswers, Margins, Phase, tpot_us};
use crate::snapshot::ModelDigest;

/// The fewest repeats of each side that give a verdict.
const LEAST_REPEATS: usize = 5;

/// The most further repeats that are worth proposing.
const MOST_MORE: f64 = 1000.0;

/// What is compared. Gaps say more of how a server groups tokens than of its speed.
const METRICS: [Metric; 3] = [Metric::Ttft, Metric::Tpot, Metric::E2e];

/// The figures of an earlier replay.
#[derive(Clone, Debug, Deserialize)]
pub struct Baseline {
    target: BaselineTarget,
    cases: Vec<BaselineCase>,
}

#[derive(Clone, Debug, Deserialize)]
struct BaselineTarget {
    host: String,
    digest: Option<ModelDigest>,
}

#[derive(Clone, Debug, Deserialize)]
struct BaselineCase {
    id: String,
    measurements: Vec<BaselineMeasurement>,
    phase_failures: Vec<BaselineLabel>,
    margins: Option<Margins>,
}

#[derive(Clone, Debug, Deserialize)]
struct BaselineMeasurement {
    #[serde(flatten)]
    label: BaselineLabel,
    ttft_us: Option<u64>,
    e2e_us: u64,
    output_tokens: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct BaselineLabel {
    phase: Phase,
    repeat: u32,
}

impl Baseline {
    /// Reads the `--json` of an earlier replay.
    ///
    /// # Errors
    /// It is none, or of another version, or of several backends.
    pub fn parse(text: &str) -> Result<Self, FiguresError> {
        read(text, FiguresKind::Replay, VERSION)
    }

    /// The machine on which its times were taken.
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// The fingerprint of the tokenizer with which it was made, if that is known.
    pub fn tokenizer(&self) -> Option<&str> {
        self.target.digest.as_ref().map(|digest| digest.tokenizer.as_str())
    }

    /// The accepted answers of which it has the margins.
    pub fn known_answers(&self) -> KnownAnswers {
        let known = |case: &BaselineCase| Some((case.id.clone(), case.margins.as_ref()?.known()?.clone()));
        self.cases.iter().filter_map(known).collect()
    }

    /// The valid times of each trace.
    fn times(&self) -> TimesByTrace {
        let mut times = TimesByTrace::default();
        for case in &self.cases {
            for one in case.measurements.iter().filter(|one| !case.phase_failures.contains(&one.label)) {
                let tpot = tpot_us(one.ttft_us, one.e2e_us, one.output_tokens);
                times.add(&case.id, one.label.phase, one.ttft_us, tpot, one.e2e_us);
            }
        }
        times
    }
}

/// Times by trace, phase and metric.
#[derive(Default)]
struct TimesByTrace(BTreeMap<(Phase, Metric), BTreeMap<String, Vec<u64>>>);

impl TimesByTrace {
    fn add(&mut self, id: &str, phase: Phase, ttft_us: Option<u64>, tpot_us: Option<u64>, e2e_us: u64) {
        for (metric, us) in METRICS.into_iter().zip([ttft_us, tpot_us, Some(e2e_us)]) {
            let traces = self.0.entry((phase, metric)).or_default();
            traces.entry(id.to_owned()).or_default().extend(us);
        }
    }

    /// The times of those traces that have some of the same phase and metric there.
    fn of_same_traces(&self, there: &Self) -> BTreeMap<(Phase, Metric), Distribution> {
        let same = |(key, traces): (&(Phase, Metric), &BTreeMap<String, Vec<u64>>)| {
            let there = there.0.get(key)?;
            let times = traces.iter().filter(|(id, _)| there.contains_key(*id)).flat_map(|(_, times)| times.iter().copied());
            Some((*key, Distribution::of(times)))
        };
        self.0.iter().filter_map(same).collect()
    }

    fn of_cases(cases: &[CaseResult]) -> Self {
        let mut times = Self::default();
        for case in cases {
            for one in case.valid_measurements() {
                times.add(&case.id.to_string(), one.phase, one.ttft_us, one.tpot_us(), one.e2e_us);
            }
        }
        times
    }
}

/// What fails a replay beside its baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Limits {
    /// The most that a ratio of times may be.
    pub max_slower: Option<f64>,
    /// The most that a least margin may fall, in log-probability.
    pub max_drop: Option<f64>,
}

/// A replay beside its baseline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Comparison {
    /// What fails.
    #[serde(flatten)]
    pub limits: Limits,
    /// How much less sure the model is of each trace of which both have the margins, the largest drop first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub margins: Vec<MarginDrop>,
    /// One for each phase and metric that both have.
    pub speeds: Vec<Speed>,
    /// The times of the earlier replay, of the traces that both have.
    #[serde(skip)]
    pub before: BTreeMap<(Phase, Metric), Distribution>,
}

/// How much slower one metric of one phase became.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Speed {
    /// The phase.
    pub phase: Phase,
    /// The metric.
    pub metric: Metric,
    /// Geometric mean over the traces of now to before; over 1 is slower.
    pub ratio: f64,
    /// The low end of its 95% interval.
    pub low: f64,
    /// The high end.
    pub high: f64,
    /// The least number of times that a trace has on either side.
    pub repeats: usize,
    /// The ratio of medians of each trace, by its name.
    pub traces: BTreeMap<String, f64>,
    /// What that means.
    pub verdict: SpeedVerdict,
}

/// What a ratio means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpeedVerdict {
    /// No limit is given.
    Unlimited,
    /// Too few repeats on one side.
    TooFewRepeats,
    /// The whole interval is within the limit.
    WithinLimit,
    /// The whole interval is past the limit.
    Slower,
    /// The limit is inside of the interval.
    Undecided {
        /// About how many more repeats would decide it.
        more_repeats: u32,
    },
}

impl Comparison {
    /// Compares results with their baseline, over the traces that both have.
    pub fn new(cases: &[CaseResult], baseline: &Baseline, limits: Limits) -> Self {
        let (before, now) = (baseline.times(), TimesByTrace::of_cases(cases));
        let speeds = now.0.iter().filter_map(|(key, now)| speed(*key, before.0.get(key)?, now, limits.max_slower));
        let speeds = speeds.collect();
        Self { limits, margins: drops(cases, &baseline.known_answers()), speeds, before: before.of_same_traces(&now) }
    }

    /// The drops that are larger than allowed.
    pub fn less_sure(&self) -> impl Iterator<Item = &MarginDrop> {
        self.margins.iter().filter(|drop| self.limits.max_drop.is_some_and(|most| drop.drop > most))
    }

    /// Those that are slower than allowed.
    pub fn slower(&self) -> impl Iterator<Item = &Speed> {
        self.speeds.iter().filter(|speed| speed.verdict == SpeedVerdict::Slower)
    }
}

fn speed(
    (phase, metric): (Phase, Metric),
    before: &BTreeMap<String, Vec<u64>>,
    now: &BTreeMap<String, Vec<u64>>,
    max_slower: Option<f64>,
) -> Option<Speed> {
    let names: BTreeSet<&String> = now.keys().filter(|id| before.contains_key(*id)).collect();
    let both = names.into_iter().map(|id| (id, ComparedTimes { before: before[id].clone(), now: now[id].clone() }));
    let both: Vec<_> = both.filter(|(_, times)| !times.before.is_empty() && !times.now.is_empty()).collect();
    let repeats = both.iter().map(|(_, times)| times.before.len().min(times.now.len())).min()?;
    let traces = both.iter().map(|(id, times)| ((*id).clone(), ratio(&times.before, &times.now))).collect();
    let found = interval(&both.into_iter().map(|(_, times)| times).collect::<Vec<_>>())?;
    let verdict = match max_slower {
        None => SpeedVerdict::Unlimited,
        Some(_) if repeats < LEAST_REPEATS => SpeedVerdict::TooFewRepeats,
        Some(limit) => verdict(found, limit, repeats),
    };
    let Interval { ratio, low, high } = found;
    Some(Speed { phase, metric, ratio, low, high, repeats, traces, verdict })
}

/// What the ratio means for the limit. An interval narrows with the square root of the repeats, so an undecided verdict can say
/// how many more would leave the limit outside of it.
fn verdict(Interval { ratio, low, high }: Interval, limit: f64, repeats: usize) -> SpeedVerdict {
    if low > limit {
        return SpeedVerdict::Slower;
    }
    if high <= limit {
        return SpeedVerdict::WithinLimit;
    }
    let width = if ratio > limit { ratio.ln() - low.ln() } else { high.ln() - ratio.ln() };
    let needed = (width / (ratio.ln() - limit.ln())).powi(2) * repeats as f64;
    // No number is left where the ratio is the limit itself.
    let more = (needed - repeats as f64).round().clamp(1.0, MOST_MORE);
    SpeedVerdict::Undecided { more_repeats: if more.is_nan() { MOST_MORE as u32 } else { more as u32 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::assert_errors_name_the_file;
    use crate::replay::testing::{case_result, measurement};
    use crate::replay::{Measurement, Untested};
    use crate::report::testing::{settings, target};
    use crate::report::{Report, States};

    /// Two traces whose times are this many milliseconds, a little apart.
    fn cases(ms: u64, repeats: u32) -> Vec<CaseResult> {
        let one = |repeat: u32| {
            let at = measurement(Phase::Cold, ms + u64::from(repeat * 7 % 5), Some(0));
            Measurement { repeat, e2e_us: at.e2e_us * ms / 1000, ..at }
        };
        [1, 2].map(|seq| case_result(seq, (1..=repeats).map(one).collect())).into()
    }

    fn compared(before: &[CaseResult], now: &[CaseResult], limit: Option<f64>) -> Comparison {
        let (target, settings) = (target(States::CacheControl), settings());
        let earlier = Report::new(&target, &settings, before, Untested::default()).to_json();
        Comparison::new(now, &Baseline::parse(&earlier).unwrap(), Limits { max_slower: limit, max_drop: None })
    }

    #[test]
    fn damaged_figures_are_errors_of_one_line() {
        let (target, settings) = (target(States::CacheControl), settings());
        let figures = Report::new(&target, &settings, &cases(1000, 2), Untested::default()).to_json();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        assert_errors_name_the_file(&path, figures.as_bytes(), 150, || {
            // The command names the file.
            let text = std::fs::read_to_string(&path).map_err(|error| format!("figures.json: {error}"))?;
            Baseline::parse(&text).map_err(|error| format!("figures.json: {error}"))
        });
    }

    fn ttft(comparison: &Comparison) -> &Speed {
        comparison.speeds.iter().find(|speed| speed.metric == Metric::Ttft).unwrap()
    }

    #[test]
    fn twenty_percent_slower_is_found_and_the_same_is_not() {
        let before = cases(1000, 6);
        let slower = compared(&before, &cases(1250, 6), Some(1.2));
        assert_eq!(ttft(&slower).verdict, SpeedVerdict::Slower);
        assert!((ttft(&slower).ratio - 1.25).abs() < 0.01 && slower.slower().count() >= 1, "{slower:?}");
        assert_eq!(ttft(&slower).traces.keys().collect::<Vec<_>>(), ["demo/0001", "demo/0002"]);
        let same = compared(&before, &before, Some(1.2));
        assert!(same.speeds.iter().all(|speed| speed.verdict == SpeedVerdict::WithinLimit), "{same:?}");
        assert_eq!(ttft(&compared(&before, &before, None)).verdict, SpeedVerdict::Unlimited);
    }

    #[test]
    fn few_repeats_give_no_verdict() {
        let few = compared(&cases(1000, 6), &cases(2000, 4), Some(1.2));
        assert_eq!(ttft(&few).verdict, SpeedVerdict::TooFewRepeats);
    }

    #[test]
    fn what_is_not_certain_is_not_decided_and_says_how_many_more_repeats_would_do() {
        let found = |ratio, low, high| verdict(Interval { ratio, low, high }, 1.2, 5);
        // Half as wide would do: four times as many repeats.
        let wide = 1.2 * (1.3_f64 / 1.2).powi(-1);
        assert_eq!(found(1.3, wide, 1.5), SpeedVerdict::Undecided { more_repeats: 15 });
        assert_eq!(found(1.1, 1.0, 1.19), SpeedVerdict::WithinLimit);
        assert!(matches!(found(1.1, 1.0, 1.25), SpeedVerdict::Undecided { more_repeats: 1..=20 }));
        assert_eq!(found(1.2, 1.1, 1.3), SpeedVerdict::Undecided { more_repeats: 1000 });
    }

    #[test]
    fn a_file_that_is_no_baseline_is_refused() {
        let refused = |text: &str| Baseline::parse(text).unwrap_err().to_string();
        assert!(refused("{").starts_with("not the figures of a replay"));
        assert!(
            refused("{\"version\": 2, \"cases\": []}").starts_with("figures of version 2, but this anyclaude reads version 3")
        );
    }
}
