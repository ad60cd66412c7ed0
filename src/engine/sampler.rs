//! Choosing the next token from logits: greedy, or by temperature, top-k and top-p.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::EngineError;
use super::model::GenerationConfig;
use crate::wire::MessagesRequest;

/// How to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the likeliest token.
    pub temperature: f32,
    /// Keep the likeliest tokens that together have this probability. 1: all.
    pub top_p: f32,
    /// Keep so many of the likeliest tokens. 0: all.
    pub top_k: u32,
    /// Where chance starts; without one, every answer differs.
    pub seed: Option<u64>,
}

impl Sampling {
    /// What the request asks for; where it is silent, what the model's makers recommend; else Anthropic's defaults.
    /// The seed is the field `seed`, which Anthropic's API does not have.
    pub fn for_request(request: &MessagesRequest, model: &GenerationConfig) -> Result<Self, EngineError> {
        let usual = if model.do_sample == Some(false) { 0.0 } else { model.temperature.unwrap_or(1.0) };
        let temperature = request.temperature.unwrap_or(usual);
        let top_p = request.top_p.or(model.top_p).unwrap_or(1.0);
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(EngineError::Request(format!("temperature: {temperature} is not a number from 0 up")));
        }
        if !(0.0..=1.0).contains(&top_p) {
            return Err(EngineError::Request(format!("top_p: {top_p} is not between 0 and 1")));
        }
        let seed = match request.extra.get("seed") {
            None | Some(serde_json::Value::Null) => None,
            Some(seed) => Some(seed.as_u64().ok_or_else(|| EngineError::Request(format!("seed: {seed} is not a whole number")))?),
        };
        Ok(Self { temperature, top_p, top_k: request.top_k.or(model.top_k).unwrap_or(0), seed })
    }
}

/// Chooses tokens, one answer long. The same seed and the same logits give the same tokens.
pub struct Sampler {
    sampling: Sampling,
    random: StdRng,
}

impl Sampler {
    /// Starts an answer.
    pub fn new(sampling: Sampling) -> Self {
        let random = sampling.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        Self { sampling, random }
    }

    /// The next token, one of `allowed`; `None` when none of them has a usable logit. Among equals the lowest id wins.
    pub fn sample(&mut self, logits: &[f32], allowed: impl Iterator<Item = u32>) -> Option<u32> {
        let candidates = allowed.filter_map(|id| {
            let logit = *logits.get(id as usize)?;
            (logit > f32::NEG_INFINITY).then_some(Candidate { id, logit })
        });
        if self.sampling.temperature == 0.0 {
            return candidates.min_by(Candidate::likelier_first).map(|best| best.id);
        }
        let candidates = self.keep_likeliest(candidates.collect());
        self.draw(&candidates)
    }

    /// Top-k, then top-p of what is left.
    fn keep_likeliest(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let k = self.sampling.top_k as usize;
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, Candidate::likelier_first);
            candidates.truncate(k);
        }
        // Chance must not depend on the order in which selecting left the candidates.
        candidates.sort_unstable_by(Candidate::likelier_first);
        if self.sampling.top_p < 1.0 {
            let weights = self.weights(&candidates);
            let enough = weights.iter().sum::<f64>() * f64::from(self.sampling.top_p);
            let mut sum = 0.0;
            let dropped = weights.iter().position(|weight| {
                let full = sum >= enough;
                sum += weight;
                full
            });
            candidates.truncate(dropped.unwrap_or(weights.len()).max(1));
        }
        candidates
    }

    fn draw(&mut self, candidates: &[Candidate]) -> Option<u32> {
        let weights = self.weights(candidates);
        let mut left = self.random.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = candidates.iter().zip(&weights).find(|(_, weight)| {
            left -= **weight;
            left < 0.0
        });
        // Rounding can leave a crumb after the last candidate.
        drawn.map(|(candidate, _)| candidate).or(candidates.last()).map(|candidate| candidate.id)
    }

    /// Probabilities up to a common factor, the likeliest candidate, which comes first, having 1.
    fn weights(&self, candidates: &[Candidate]) -> Vec<f64> {
        let Some(best) = candidates.first() else { return Vec::new() };
        let temperature = f64::from(self.sampling.temperature);
        candidates.iter().map(|c| ((f64::from(c.logit) - f64::from(best.logit)) / temperature).exp()).collect()
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
}

impl Candidate {
    fn likelier_first(&self, other: &Self) -> std::cmp::Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn sampling(temperature: f32, top_p: f32, top_k: u32) -> Sampling {
        Sampling { temperature, top_p, top_k, seed: Some(5) }
    }

    fn all(logits: &[f32]) -> std::ops::Range<u32> {
        0..logits.len() as u32
    }

    /// The tokens that come up in many draws.
    fn drawn(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        let tokens: std::collections::BTreeSet<u32> = (0..2000).map(|_| sampler.sample(logits, all(logits)).unwrap()).collect();
        tokens.into_iter().collect()
    }

    #[test]
    fn greedy_takes_the_likeliest_allowed_token_and_the_lowest_id_of_equals() {
        let logits = [1.0, 7.0, f32::NAN, 3.0, 7.0, 3.0];
        let mut sampler = Sampler::new(sampling(0.0, 1.0, 0));
        assert_eq!(sampler.sample(&logits, all(&logits)), Some(1));
        assert_eq!(sampler.sample(&logits, [5, 3, 0].into_iter()), Some(3));
        assert_eq!(sampler.sample(&logits, [2, 99].into_iter()), None);
        assert_eq!(sampler.sample(&logits, std::iter::empty()), None);
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits: Vec<f32> = [0.125f32, 0.5, 0.25, 0.125].iter().map(|p| p.ln()).collect();
        assert_eq!(drawn(sampling(1.0, 1.0, 0), &logits), [0, 1, 2, 3]);
        assert_eq!(drawn(sampling(1.0, 1.0, 1), &logits), [1]);
        assert_eq!(drawn(sampling(1.0, 1.0, 3), &logits), [0, 1, 2], "the lower id of two equals is kept");
        assert_eq!(drawn(sampling(1.0, 0.7, 0), &logits), [1, 2]);
        assert_eq!(drawn(sampling(1.0, 0.0, 0), &logits), [1]);
        assert_eq!(drawn(sampling(1.0, 0.7, 1), &logits), [1]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 3.0f32.ln()];
        let mut sampler = Sampler::new(sampling(1.0, 1.0, 0));
        let ones = (0..10_000).filter(|_| sampler.sample(&logits, 0..2) == Some(1)).count();
        assert!((7300..7700).contains(&ones), "{ones} of 10000, expected about 7500");
    }

    #[test]
    fn what_the_request_leaves_out_comes_from_the_model() {
        let model = GenerationConfig { do_sample: Some(true), temperature: Some(0.6), top_p: Some(0.95), top_k: Some(20) };
        let silent = GenerationConfig::default();
        let greedy = GenerationConfig { do_sample: Some(false), ..silent.clone() };
        let request = |fields: Value| -> MessagesRequest {
            let mut body = json!({"model": "m", "messages": [], "max_tokens": 1});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            serde_json::from_value(body).unwrap()
        };
        let of = |fields, model| Sampling::for_request(&request(fields), model).map_err(|e| e.to_string());
        let expected = |temperature, top_p, top_k, seed| Ok(Sampling { temperature, top_p, top_k, seed });
        assert_eq!(of(json!({}), &model), expected(0.6, 0.95, 20, None));
        assert_eq!(of(json!({}), &greedy), expected(0.0, 1.0, 0, None));
        assert_eq!(of(json!({}), &silent), expected(1.0, 1.0, 0, None));
        let full = json!({"temperature": 0.5, "top_p": 0.5, "top_k": 3, "seed": 9});
        assert_eq!(of(full, &greedy), expected(0.5, 0.5, 3, Some(9)));
        assert_eq!(of(json!({"temperature": -1}), &model), Err("temperature: -1 is not a number from 0 up".into()));
        assert_eq!(of(json!({"top_p": 1.5}), &model), Err("top_p: 1.5 is not between 0 and 1".into()));
        assert_eq!(of(json!({"seed": "x"}), &model), Err("seed: \"x\" is not a whole number".into()));
    }

    proptest! {
        #[test]
        fn any_draw_is_allowed_and_repeats_with_its_seed(
            logits in prop::collection::vec(prop_oneof![9 => -50f32..50.0, 1 => Just(f32::NEG_INFINITY)], 1..40),
            stride in 1usize..4, temperature in 0f32..3.0, top_p in 0f32..=1.0, top_k in 0u32..50, seed: u64,
        ) {
            let sampling = Sampling { temperature, top_p, top_k, seed: Some(seed) };
            let allowed: Vec<u32> = (0..logits.len() as u32).step_by(stride).collect();
            let draw = || Sampler::new(sampling.clone()).sample(&logits, allowed.iter().copied());
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
