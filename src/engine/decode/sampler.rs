//! Sampling: from logits to the next token, greedily or at random, with penalties for tokens that already occurred.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::likeliest_first::{Candidate, LikeliestFirst};
use crate::engine::EngineError;
use crate::engine::model::GenerationConfig;
use crate::wire::MessagesRequest;

/// The parameters of sampling, in the order in which they are applied to the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits. 0: greedy, always the likeliest token.
    pub temperature: f32,
    /// Top-k: keep this many of the likeliest tokens. 0: all.
    pub top_k: u32,
    /// Top-p (nucleus sampling, Holtzman et al. 2019): of these, keep the likeliest that together have this probability. 1: all.
    pub top_p: f32,
    /// Min-p: of these, keep those whose probability is at least this share of the likeliest one's. 0: all.
    pub min_p: f32,
    /// Positive logits of tokens that occur in the prompt or answer are divided by this, negative ones multiplied (CTRL, Keskar
    /// et al. 2019). 1: no change.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that occur in the answer. 0: no change.
    pub presence_penalty: f32,
    /// RNG seed; `None` seeds from the OS.
    pub seed: Option<u64>,
}

impl Sampling {
    /// Greedy sampling without penalties.
    pub const GREEDY: Self =
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, presence_penalty: 0.0, seed: None };

    /// The settings that a model recommends, with Anthropic's defaults for the others.
    ///
    /// # Errors
    /// A parameter is out of its range; the message names it.
    pub fn of_model(recommended: &GenerationConfig) -> Result<Self, String> {
        let greedy = recommended.do_sample == Some(false);
        let sampling = Self {
            temperature: if greedy { 0.0 } else { recommended.temperature.unwrap_or(1.0) },
            top_k: recommended.top_k.and_then(|k| u32::try_from(k).ok()).unwrap_or(0),
            top_p: recommended.top_p.unwrap_or(1.0),
            min_p: recommended.min_p.unwrap_or(0.0),
            repetition_penalty: recommended.repetition_penalty.unwrap_or(1.0),
            ..Self::GREEDY
        };
        sampling.check()?;
        Ok(sampling)
    }

    /// The request's parameters; where it has none, the given ones. `min_p`, `repetition_penalty`, `presence_penalty` and `seed`
    /// are accepted though Anthropic's API has no such fields.
    ///
    /// # Errors
    /// A parameter is out of its range; the message names it.
    pub fn for_request(request: &MessagesRequest, usual: &Self) -> Result<Self, EngineError> {
        let number = |name: &str| Ok::<_, EngineError>(given(request, name, Value::as_f64, "number")?.map(|n| n as f32));
        let sampling = Self {
            temperature: request.temperature.unwrap_or(usual.temperature),
            top_k: request.top_k.unwrap_or(usual.top_k),
            top_p: request.top_p.unwrap_or(usual.top_p),
            min_p: number("min_p")?.unwrap_or(usual.min_p),
            repetition_penalty: number("repetition_penalty")?.unwrap_or(usual.repetition_penalty),
            presence_penalty: number("presence_penalty")?.unwrap_or(usual.presence_penalty),
            seed: given(request, "seed", Value::as_u64, "whole number")?.or(usual.seed),
        };
        sampling.check().map_err(EngineError::Request)?;
        Ok(sampling)
    }

    fn check(&self) -> Result<(), String> {
        let Self { temperature, top_p, min_p, repetition_penalty, presence_penalty, .. } = self;
        if !(*temperature >= 0.0 && temperature.is_finite()) {
            return Err(format!("temperature: {temperature} is not a number from 0 up"));
        }
        if let Some((name, value)) = [("top_p", top_p), ("min_p", min_p)].iter().find(|(_, value)| !(0.0..=1.0).contains(*value))
        {
            return Err(format!("{name}: {value} is not between 0 and 1"));
        }
        if !(*repetition_penalty > 0.0 && repetition_penalty.is_finite()) {
            return Err(format!("repetition_penalty: {repetition_penalty} is not a number above 0"));
        }
        if !presence_penalty.is_finite() {
            return Err(format!("presence_penalty: {presence_penalty} is out of range"));
        }
        Ok(())
    }
}

/// Reads a field that Anthropic's API does not have. `null` counts as absent.
fn given<T>(
    request: &MessagesRequest,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
    kind: &str,
) -> Result<Option<T>, EngineError> {
    let value = request.extra.get(name).filter(|value| !value.is_null());
    let wrong = |value| EngineError::Request(format!("{name}: {value} is not a {kind}"));
    value.map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
}

/// Samples the tokens of one answer. The same prompt, seed and logits give the same tokens.
pub struct Sampler {
    sampling: Sampling,
    rng: StdRng,
    /// The distinct tokens of the prompt; empty without a repetition penalty.
    prompt: BTreeSet<u32>,
    /// The distinct tokens sampled so far.
    answer: BTreeSet<u32>,
    /// Tokens to give before any is sampled.
    taught: VecDeque<u32>,
}

impl Sampler {
    /// Starts the answer to a prompt.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let rng = sampling.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        let prompt = if sampling.repetition_penalty == 1.0 { BTreeSet::new() } else { prompt.iter().copied().collect() };
        Self { sampling, rng, prompt, answer: BTreeSet::new(), taught: VecDeque::new() }
    }

    /// Gives these tokens as the answer's first ones, whatever the logits are (teacher forcing).
    pub fn teach(&mut self, tokens: Vec<u32>) {
        self.taught = tokens.into();
    }

    /// The taught tokens that are still to come.
    pub fn taught(&self) -> Vec<u32> {
        self.taught.iter().copied().collect()
    }

    /// Samples the next token from `allowed`; `None` where no allowed token has a finite logit. Ties go to the lowest id.
    pub fn sample(&mut self, logits: &[f32], allowed: impl Iterator<Item = u32>) -> Option<u32> {
        let token = match self.taught.pop_front() {
            Some(token) => token,
            None => self.choose(&self.penalized(logits), allowed)?,
        };
        self.answer.insert(token);
        Some(token)
    }

    /// The parameters, if nothing but them and the logits decides: `None` with penalties, which depend on the tokens so far, and
    /// while taught tokens are to come.
    pub fn without_penalties(&self) -> Option<&Sampling> {
        let Sampling { repetition_penalty, presence_penalty, .. } = self.sampling;
        (self.taught.is_empty() && repetition_penalty == 1.0 && presence_penalty == 0.0).then_some(&self.sampling)
    }

    /// Whether the likeliest token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.sampling.temperature == 0.0
    }

    /// The random numbers that the next tokens will be drawn with, each from 0 up to 1.
    pub fn next_draws(&self, count: usize) -> Vec<f64> {
        let mut rng = self.rng.clone();
        (0..count).map(|_| rng.random()).collect()
    }

    /// Takes the next token as [`Self::sample`] would have sampled it: it was drawn elsewhere, with the first of
    /// [`Self::next_draws`].
    pub fn accept(&mut self, token: u32) {
        if self.sampling.temperature != 0.0 {
            self.rng.random::<f64>();
        }
        self.answer.insert(token);
    }

    fn choose(&mut self, logits: &[f32], allowed: impl Iterator<Item = u32>) -> Option<u32> {
        let candidates = allowed.filter_map(|id| {
            let logit = *logits.get(id as usize)?;
            (logit > f32::NEG_INFINITY).then_some(Candidate { id, logit })
        });
        if self.sampling.temperature == 0.0 {
            return candidates.min_by(Candidate::likelier_first).map(|best| best.id);
        }
        let candidates = LikeliestFirst::new(candidates.collect(), self.sampling.top_k as usize);
        self.draw(candidates)
    }

    /// Applies the penalties.
    fn penalized<'a>(&self, logits: &'a [f32]) -> Cow<'a, [f32]> {
        let Sampling { repetition_penalty, presence_penalty, .. } = self.sampling;
        let mut logits = Cow::Borrowed(logits);
        if repetition_penalty != 1.0 {
            for id in self.prompt.union(&self.answer) {
                if let Some(logit) = logits.to_mut().get_mut(*id as usize) {
                    *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
                }
            }
        }
        if presence_penalty != 0.0 {
            for id in &self.answer {
                if let Some(logit) = logits.to_mut().get_mut(*id as usize) {
                    *logit -= presence_penalty;
                }
            }
        }
        logits
    }

    /// Draws one of the candidates that top-p and then min-p keep.
    fn draw(&mut self, mut candidates: LikeliestFirst) -> Option<u32> {
        let best = candidates.get(0)?;
        // Unnormalised probability: the likeliest candidate has 1.
        let temperature = f64::from(self.sampling.temperature);
        let weight = |candidate: Candidate| ((f64::from(candidate.logit) - f64::from(best.logit)) / temperature).exp();
        let nucleus = self.nucleus(&mut candidates, weight);
        let mut left = self.rng.random::<f64>() * nucleus.weight;
        // Rounding can leave a remainder after the last candidate.
        let mut drawn = best.id;
        for candidate in (0..nucleus.count).map_while(|rank| candidates.get(rank)) {
            drawn = candidate.id;
            left -= weight(candidate);
            if left < 0.0 {
                break;
            }
        }
        Some(drawn)
    }

    /// How many of the likeliest candidates top-p and then min-p keep: at least one.
    fn nucleus(&self, candidates: &mut LikeliestFirst, weight: impl Fn(Candidate) -> f64) -> Nucleus {
        let Sampling { top_p, min_p, .. } = self.sampling;
        let all = candidates.unordered().iter().copied().map(&weight).sum::<f64>();
        if top_p == 1.0 && min_p == 0.0 {
            return Nucleus { count: candidates.len(), weight: all };
        }
        let enough = if top_p < 1.0 { all * f64::from(top_p) } else { f64::INFINITY };
        let mut nucleus = Nucleus { count: 0, weight: 0.0 };
        while let Some(candidate) = candidates.get(nucleus.count) {
            let weight = weight(candidate);
            if nucleus.count > 0 && (nucleus.weight >= enough || weight < f64::from(min_p)) {
                break;
            }
            nucleus = Nucleus { count: nucleus.count + 1, weight: nucleus.weight + weight };
        }
        nucleus
    }
}

/// The likeliest candidates that may be drawn.
struct Nucleus {
    count: usize,
    /// The sum of their unnormalised probabilities.
    weight: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn sampling(temperature: f32, top_p: f32, top_k: u32) -> Sampling {
        Sampling { temperature, top_p, top_k, seed: Some(5), ..Sampling::GREEDY }
    }

    fn all(logits: &[f32]) -> std::ops::Range<u32> {
        0..logits.len() as u32
    }

    /// The tokens that come up in many draws.
    fn drawn(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, &[]);
        let tokens: std::collections::BTreeSet<u32> = (0..2000).map(|_| sampler.sample(logits, all(logits)).unwrap()).collect();
        tokens.into_iter().collect()
    }

    #[test]
    fn greedy_takes_the_likeliest_allowed_token_and_the_lowest_id_of_equals() {
        let logits = [1.0, 7.0, f32::NAN, 3.0, 7.0, 3.0];
        let mut sampler = Sampler::new(sampling(0.0, 1.0, 0), &[]);
        assert_eq!(sampler.sample(&logits, all(&logits)), Some(1));
        assert_eq!(sampler.sample(&logits, [5, 3, 0].into_iter()), Some(3));
        assert_eq!(sampler.sample(&logits, [2, 99].into_iter()), None);
        assert_eq!(sampler.sample(&logits, std::iter::empty()), None);
    }

    #[test]
    fn top_k_top_p_and_min_p_keep_the_likeliest() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits: Vec<f32> = [0.125f32, 0.5, 0.25, 0.125].iter().map(|p| p.ln()).collect();
        let cases: [(f32, u32, f32, &[u32]); 9] = [
            (1.0, 0, 0.0, &[0, 1, 2, 3]),
            (1.0, 1, 0.0, &[1]),
            (1.0, 3, 0.0, &[0, 1, 2]), // the lower id of two equals is kept
            (0.7, 0, 0.0, &[1, 2]),
            (0.0, 0, 0.0, &[1]),
            (0.7, 1, 0.0, &[1]),
            (1.0, 0, 0.4, &[1, 2]),
            (1.0, 0, 1.0, &[1]),
            (0.6, 0, 0.2, &[1, 2]), // top-p has dropped the last two
        ];
        for (top_p, top_k, min_p, kept) in cases {
            let found = drawn(Sampling { min_p, ..sampling(1.0, top_p, top_k) }, &logits);
            assert_eq!(found, kept, "top_p {top_p}, top_k {top_k}, min_p {min_p}");
        }
        // A higher temperature makes all more alike.
        assert_eq!(drawn(Sampling { min_p: 0.4, ..sampling(4.0, 1.0, 0) }, &logits), [0, 1, 2, 3]);
    }

    #[test]
    fn penalties_lower_what_was_said() {
        // Prompt, penalties, logits, and the greedy answer.
        let cases = [
            (vec![], 1.0, 0.0, [3.0, 2.0, 1.0], [0, 0, 0, 0]),
            (vec![], 2.0, 0.0, [3.0, 2.0, 1.0], [0, 1, 0, 0]),
            (vec![0], 2.0, 0.0, [3.0, 2.0, 1.0], [1, 0, 0, 0]),
            (vec![0], 2.0, 0.0, [-1.0, -1.5, -9.0], [1, 0, 0, 0]),
            (vec![], 1.0, 1.5, [3.0, 2.0, 1.0], [0, 1, 0, 0]),
            (vec![0, 0, 1], 1.0, 1.5, [3.0, 2.0, 1.0], [0, 1, 0, 0]), // presence counts in the answer only, and once
        ];
        for (prompt, repetition_penalty, presence_penalty, logits, answer) in cases {
            let sampling = Sampling { repetition_penalty, presence_penalty, ..Sampling::GREEDY };
            let mut sampler = Sampler::new(sampling, &prompt);
            let found = [(); 4].map(|()| sampler.sample(&logits, all(&logits)).unwrap());
            assert_eq!(found, answer, "prompt {prompt:?}, repetition {repetition_penalty}, presence {presence_penalty}");
        }
    }

    #[test]
    fn a_token_that_the_logits_lack_is_no_trouble() {
        let sampling = Sampling { repetition_penalty: 2.0, presence_penalty: 1.0, ..Sampling::GREEDY };
        assert_eq!(Sampler::new(sampling, &[7, 1]).sample(&[1.0, 1.5], 0..2), Some(0));
    }

    #[test]
    fn the_seed_decides_a_whole_answer() {
        let logits: Vec<f32> = (0..50).map(|id| (id as f32).sin()).collect();
        let answer = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, presence_penalty: 0.5, ..sampling(1.0, 0.9, 40) }, &[]);
            (0..100).map(|_| sampler.sample(&logits, all(&logits)).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(answer(Some(1)), answer(Some(1)));
        assert_ne!(answer(Some(1)), answer(Some(2)));
        assert_ne!(answer(None), answer(None));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 3.0f32.ln()];
        let mut sampler = Sampler::new(sampling(1.0, 1.0, 0), &[]);
        let ones = (0..10_000).filter(|_| sampler.sample(&logits, 0..2) == Some(1)).count();
        assert!((7300..7700).contains(&ones), "{ones} of 10000, expected about 7500");
    }

    #[test]
    fn what_the_request_leaves_out_comes_from_the_model() {
        let model = GenerationConfig {
            do_sample: Some(true),
            temperature: Some(0.6),
            top_p: Some(0.95),
            top_k: Some(20),
            min_p: Some(0.1),
            repetition_penalty: Some(1.05),
        };
        let silent = GenerationConfig::default();
        let greedy = GenerationConfig { do_sample: Some(false), ..silent.clone() };
        let request = |fields: Value| -> MessagesRequest {
            let mut body = json!({"model": "m", "messages": [], "max_tokens": 1});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value(body).unwrap()
        };
        let of = |fields, model: &GenerationConfig| {
            Sampling::for_request(&request(fields), &Sampling::of_model(model).unwrap()).map_err(|e| e.to_string())
        };
        let recommended =
            Sampling { temperature: 0.6, top_k: 20, top_p: 0.95, min_p: 0.1, repetition_penalty: 1.05, ..Sampling::GREEDY };
        assert_eq!(of(json!({}), &model), Ok(recommended));
        assert_eq!(of(json!({}), &greedy), Ok(Sampling::GREEDY));
        assert_eq!(of(json!({}), &silent), Ok(Sampling { temperature: 1.0, ..Sampling::GREEDY }));
        let any = GenerationConfig { top_k: Some(-1), ..silent.clone() };
        assert_eq!(of(json!({}), &any), of(json!({}), &silent));
        let full = json!({"temperature": 0.5, "top_p": 0.5, "top_k": 3, "min_p": 0.25, "repetition_penalty": 1.5,
                          "presence_penalty": -1, "seed": 9});
        let asked = Sampling {
            temperature: 0.5,
            top_k: 3,
            top_p: 0.5,
            min_p: 0.25,
            repetition_penalty: 1.5,
            presence_penalty: -1.0,
            seed: Some(9),
        };
        assert_eq!([of(full.clone(), &greedy), of(full, &model)], [Ok(asked.clone()), Ok(asked)]);
        assert_eq!(of(json!({"seed": null, "min_p": null}), &greedy), Ok(Sampling::GREEDY));
        let impossible = GenerationConfig { top_p: Some(2.0), ..GenerationConfig::default() };
        assert_eq!(Sampling::of_model(&impossible), Err("top_p: 2 is not between 0 and 1".into()));
        let wrong = [
            (json!({"temperature": -1}), "temperature: -1 is not a number from 0 up"),
            (json!({"top_p": 1.5}), "top_p: 1.5 is not between 0 and 1"),
            (json!({"min_p": -0.5}), "min_p: -0.5 is not between 0 and 1"),
            (json!({"min_p": "x"}), "min_p: \"x\" is not a number"),
            (json!({"repetition_penalty": 0}), "repetition_penalty: 0 is not a number above 0"),
            (json!({"presence_penalty": 1e300}), "presence_penalty: inf is out of range"),
            (json!({"seed": "x"}), "seed: \"x\" is not a whole number"),
        ];
        for (fields, reason) in wrong {
            assert_eq!(of(fields, &model), Err(reason.to_string()));
        }
    }

    proptest! {
        #[test]
        fn any_draw_is_allowed_and_repeats_with_its_seed(
            logits in prop::collection::vec(prop_oneof![9 => -50f32..50.0, 1 => Just(f32::NEG_INFINITY)], 1..40),
            stride in 1usize..4, temperature in 0f32..3.0, top_p in 0f32..=1.0, top_k in 0u32..50, min_p in 0f32..=1.0,
            repetition_penalty in 0.5f32..2.0, prompt in prop::collection::vec(0u32..50, 0..9), seed: u64,
        ) {
            let presence_penalty = repetition_penalty - 1.0;
            let seed = Some(seed);
            let sampling = Sampling { temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, seed };
            let allowed: Vec<u32> = (0..logits.len() as u32).step_by(stride).collect();
            let draw = || Sampler::new(sampling.clone(), &prompt).sample(&logits, allowed.iter().copied());
            let token = draw();
            prop_assert_eq!(token, draw());
            let usable = allowed.iter().any(|id| logits[*id as usize] > f32::NEG_INFINITY);
            prop_assert_eq!(token.is_some(), usable);
            if let Some(token) = token {
                prop_assert!(allowed.contains(&token) && logits[token as usize] > f32::NEG_INFINITY);
            }
        }
    }
}
