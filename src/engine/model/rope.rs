//! Rotary position embedding (RoPE, Su et al. 2021) and its variants for longer contexts: linear interpolation, Llama 3's
//! scaling and YaRN (Peng et al. 2023).
//!
//! Wavelengths are computed in f32 with the same MLX operations as in mlx-lm: at position 100,000 a difference in their last
//! bit changes logits visibly.

use mlx_rs::error::Exception;
use mlx_rs::fast::{rope, rope_dynamic};
use mlx_rs::ops::{add, arange, clip, concatenate, divide, gt, logical_and, lt, multiply, power, select, subtract};
use mlx_rs::{Array, array};
use serde::Deserialize;

/// RoPE as a configuration describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base: pair `i` of `d / 2` has the wavelength `theta^(2i / d)`, in tokens per radian.
    pub theta: f32,
    /// Number of a head's first dimensions that are rotated: `d` above.
    pub width: usize,
    pub scaling: Scaling,
    pub query_scaling: Option<QueryScaling>,
}

/// How RoPE is scaled for a context beyond that of the first training.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    None,
    /// Positions are divided by `factor`.
    Linear {
        factor: f32,
    },
    /// Wavelengths are those of the whole width, but only the first pairs turn: this part of all. They are multiplied by `factor`
    /// (Gemma 4).
    Proportional {
        part: f32,
        factor: f32,
    },
    /// Long wavelengths are multiplied by `factor`, short ones kept, and those between blended by wavelength.
    Llama3 {
        factor: f32,
        low_freq_factor: f32,
        high_freq_factor: f32,
        original_context: f32,
    },
    /// Long wavelengths are multiplied by `factor`, short ones kept, and those between blended by the index of their pair.
    Yarn {
        factor: f32,
        original_context: f32,
        beta_fast: f32,
        beta_slow: f32,
        /// Whether the blend begins and ends at whole pairs; between pairs otherwise (gpt-oss).
        whole_pairs: bool,
        /// Queries and keys are multiplied by this.
        magnitude: f32,
    },
}

/// `rope_scaling`, or `rope_parameters` of transformers 5, as written.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RopeFields {
    pub rope_theta: Option<f32>,
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    #[serde(rename = "type")]
    kind: Option<String>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    beta_fast: Option<f32>,
    beta_slow: Option<f32>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    attention_factor: Option<f32>,
    truncate: Option<bool>,
    pub partial_rotary_factor: Option<f32>,
    llama_4_scaling_beta: Option<f32>,
}

/// Queries grow with their position, so that attention stays sharp in contexts beyond that of the first training (Llama 4,
/// Ministral 3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryScaling {
    beta: f32,
    original_context: f32,
}

impl QueryScaling {
    /// `None` if the configuration does not ask for it; an error if it lacks the original context.
    pub fn parse(fields: &RopeFields) -> Result<Option<Self>, String> {
        let Some(beta) = fields.llama_4_scaling_beta.filter(|beta| *beta != 0.0) else { return Ok(None) };
        match fields.original_max_position_embeddings.filter(|context| *context >= 1.0) {
            Some(original_context) => Ok(Some(Self { beta, original_context })),
            None => Err("llama_4_scaling_beta needs original_max_position_embeddings".into()),
        }
    }

    /// What a query at this position is multiplied by: 1 within the original context, more with each further one.
    pub fn factor(&self, position: i32) -> f32 {
        1.0 + self.beta * (position as f32 / self.original_context).floor().ln_1p()
    }
}

impl RopeFields {
    /// Whether the kind of scaling is said.
    pub fn has_type(&self) -> bool {
        self.kind.is_some() || self.rope_type.is_some()
    }
}

impl Scaling {
    /// Interprets the fields. The error names what is missing or not supported.
    pub fn parse(fields: &RopeFields) -> Result<Self, String> {
        let kind = fields.kind.as_deref().or(fields.rope_type.as_deref()).unwrap_or("default");
        let needed = |name: &str, value: Option<f32>| match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            Some(value) => Err(format!("RoPE scaling {kind:?}: {name} {value} is out of range")),
            None => Err(format!("RoPE scaling {kind:?}: {name} is missing")),
        };
        let original_context = || needed("original_max_position_embeddings", fields.original_max_position_embeddings);
        match kind {
            // "mrope" differs from it for images only.
            "default" | "mrope" => Ok(Self::None),
            "linear" => Ok(Self::Linear { factor: needed("factor", fields.factor)? }),
            "proportional" => match fields.partial_rotary_factor.unwrap_or(1.0) {
                part if part > 0.0 && part <= 1.0 => Ok(Self::Proportional { part, factor: fields.factor.unwrap_or(1.0) }),
                part => Err(format!("RoPE scaling {kind:?}: partial_rotary_factor {part} is out of range")),
            },
            "llama3" => Ok(Self::Llama3 {
                factor: needed("factor", fields.factor)?,
                low_freq_factor: needed("low_freq_factor", fields.low_freq_factor)?,
                high_freq_factor: needed("high_freq_factor", fields.high_freq_factor)?,
                original_context: original_context()?,
            }),
            "yarn" => {
                let factor = needed("factor", fields.factor)?;
                let growth = |weight: f32| if factor > 1.0 { 0.1 * weight * factor.ln() + 1.0 } else { 1.0 };
                let usual = growth(fields.mscale.unwrap_or(1.0)) / growth(fields.mscale_all_dim.unwrap_or(0.0));
                Ok(Self::Yarn {
                    factor,
                    original_context: original_context()?,
                    beta_fast: fields.beta_fast.unwrap_or(32.0),
                    beta_slow: fields.beta_slow.unwrap_or(1.0),
                    whole_pairs: fields.truncate.unwrap_or(true),
                    magnitude: fields.attention_factor.unwrap_or(usual),
                })
            }
            other => {
                Err(format!("RoPE scaling {other:?} is not supported; the engine knows linear, proportional, llama3 and yarn"))
            }
        }
    }

    /// The context after scaling, in tokens; `None` if `max_position_embeddings` already says it.
    pub fn context(&self) -> Option<usize> {
        match self {
            Self::Yarn { factor, original_context, .. } => Some((factor * original_context) as usize),
            _ => None,
        }
    }
}

/// The positions of the first tokens of `n` sequences.
pub(super) enum Starts {
    One(i32),
    /// `[n]`.
    Each(Array),
}

impl Starts {
    /// One position for each sequence, of at least one.
    pub(super) fn new(positions: Vec<i32>) -> Self {
        match positions[..] {
            [start] => Self::One(start),
            _ => Self::Each(Array::from_slice(&positions, &[positions.len() as i32])),
        }
    }
}

/// RoPE of the first `width` dimensions of each head.
#[derive(Clone)]
pub(super) struct Rope {
    width: i32,
    /// The base; `None` if `wavelengths` replaces it.
    theta: Option<f32>,
    position_scale: f32,
    wavelengths: Option<Array>,
    magnitude: f32,
    /// Whether a pair is two neighbours, and not one dimension of each half.
    pairs_neighbours: bool,
}

impl Rope {
    /// As configured.
    pub(super) fn new(config: &RopeConfig) -> Result<Self, Exception> {
        let width = config.width as i32;
        let plain = Self {
            width,
            theta: Some(config.theta),
            position_scale: 1.0,
            wavelengths: None,
            magnitude: 1.0,
            pairs_neighbours: false,
        };
        Ok(match config.scaling {
            Scaling::None => plain,
            Scaling::Linear { factor } => Self { position_scale: 1.0 / factor, ..plain },
            Scaling::Proportional { part, factor } => {
                let turning = (width as f32 * part) as i32 / 2;
                let longest = array!(f32::INFINITY);
                let turns = lt(arange::<i32, i32>(0, width / 2, 1)?, array!(turning))?;
                let stretched = multiply(wavelengths(config.theta, width)?, array!(factor))?;
                Self { theta: None, wavelengths: Some(select(turns, stretched, longest)?), ..plain }
            }
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let wavelengths = wavelengths(config.theta, width)?;
                let stretched = llama3(&wavelengths, factor, low_freq_factor, high_freq_factor, original_context)?;
                Self { theta: None, wavelengths: Some(stretched), ..plain }
            }
            Scaling::Yarn { factor, original_context, beta_fast, beta_slow, whole_pairs, magnitude } => {
                let range = yarn_range(width, config.theta, original_context, beta_fast, beta_slow);
                let (low, high) = if whole_pairs { (range.0.floor(), range.1.ceil()) } else { range };
                let (low, high) = yarn_bounds(low, high, width);
                let stretched = yarn(&wavelengths(config.theta, width)?, factor, low, high)?;
                Self { theta: None, wavelengths: Some(stretched), magnitude, ..plain }
            }
        })
    }

    /// The same that turns pairs of neighbours (GLM-4.7-Flash).
    pub(super) fn interleaved(self) -> Self {
        Self { pairs_neighbours: true, ..self }
    }

    /// Rotates `[n, heads, L, d]`, the consecutive tokens of `n` sequences that begin at `positions`, `[n]`. With rows of one
    /// token, each row has a position of its own.
    pub(super) fn rotate(&self, x: &Array, positions: &Array) -> Result<Array, Exception> {
        self.magnified(&self.turned(x, positions)?)
    }

    /// Rotates `[n, heads, L, d]`: consecutive tokens of each of `n` sequences. Multiplies before it rotates, as mlx-lm does: in
    /// half precision that rounds otherwise than after it.
    pub(super) fn rotate_from(&self, x: &Array, starts: &Starts) -> Result<Array, Exception> {
        let x = self.magnified(x)?;
        match starts {
            Starts::One(start) => {
                rope(x, self.width, self.pairs_neighbours, self.theta, self.position_scale, *start, self.wavelengths.as_ref())
            }
            Starts::Each(starts) => self.turned(&x, starts),
        }
    }

    fn turned(&self, x: &Array, positions: &Array) -> Result<Array, Exception> {
        rope_dynamic(x, self.width, self.pairs_neighbours, self.theta, self.position_scale, positions, self.wavelengths.as_ref())
    }

    fn magnified(&self, x: &Array) -> Result<Array, Exception> {
        if self.magnitude == 1.0 {
            return Ok(x.clone());
        }
        let magnified = |x: &Array| multiply(x, array!(self.magnitude).as_dtype(x.dtype())?);
        if x.dim(-1) == self.width {
            return magnified(x);
        }
        let parts = x.split_at_indices(&[self.width], -1)?;
        concatenate(&[magnified(&parts[0])?, parts[1].clone()], -1)
    }
}

/// The wavelength of each pair of dimensions, in tokens per radian: `[width / 2]`.
fn wavelengths(theta: f32, width: i32) -> Result<Array, Exception> {
    power(array!(theta), divide(arange::<i32, f32>(0, width, 2)?, array!(width as f32))?)
}

/// Llama 3's scaling: pairs that turn fewer than `low` times within the original context are stretched by `factor`, those that
/// turn more than `high` times are kept.
fn llama3(wavelengths: &Array, factor: f32, low: f32, high: f32, original_context: f32) -> Result<Array, Exception> {
    let turns = multiply(wavelengths, array!(2.0 * std::f32::consts::PI))?;
    let (longest, shortest) = (array!(original_context / low), array!(original_context / high));
    let stretched = multiply(wavelengths, array!(factor))?;
    let kept_or_stretched = select(gt(&turns, &longest)?, &stretched, wavelengths)?;
    let smooth = divide(subtract(divide(array!(original_context), &turns)?, array!(low))?, array!(high - low))?;
    let blend = add(divide(subtract(array!(1.0_f32), &smooth)?, array!(factor))?, &smooth)?;
    let between = logical_and(gt(&turns, &shortest)?, lt(&turns, &longest)?)?;
    select(between, divide(&kept_or_stretched, blend)?, &kept_or_stretched)
}

/// The pairs between which YaRN blends, not rounded: those that turn `beta_fast` and `beta_slow` times within the original context.
fn yarn_range(width: i32, theta: f32, original_context: f32, beta_fast: f32, beta_slow: f32) -> (f64, f64) {
    let pair = |turns: f32| {
        let tokens_per_radian = f64::from(original_context) / (f64::from(turns) * 2.0 * std::f64::consts::PI);
        f64::from(width) * tokens_per_radian.ln() / (2.0 * f64::from(theta).ln())
    };
    (pair(beta_fast), pair(beta_slow))
}

/// The same range within the pairs that there are.
fn yarn_bounds(low: f64, high: f64, width: i32) -> (f32, f32) {
    let (low, high) = (low.max(0.0) as f32, high.min(f64::from(width - 1)) as f32);
    // `yarn` divides by the difference.
    (low, if low == high { high + 0.001 } else { high })
}

/// YaRN: pairs up to `low` keep their wavelength, those from `high` on are stretched by `factor`, between them frequencies are
/// blended linearly.
fn yarn(wavelengths: &Array, factor: f32, low: f32, high: f32) -> Result<Array, Exception> {
    let stretched = multiply(wavelengths, array!(factor))?;
    let ramp = divide(subtract(arange::<i32, f32>(0, wavelengths.dim(0), 1)?, array!(low))?, array!(high - low))?;
    let stretch = clip(ramp, (0.0, 1.0))?;
    let keep = subtract(array!(1.0_f32), &stretch)?;
    let blend = add(multiply(&stretched, &keep)?, multiply(wavelengths, &subtract(array!(1.0_f32), &keep)?)?)?;
    divide(multiply(&stretched, wavelengths)?, blend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(fields: Value) -> Result<Scaling, String> {
        Scaling::parse(&serde_json::from_value(fields).unwrap())
    }

    #[test]
    fn both_names_of_the_type_are_read() {
        assert_eq!(parse(json!({"type": "linear", "factor": 4})), Ok(Scaling::Linear { factor: 4.0 }));
        assert_eq!(parse(json!({"rope_type": "linear", "factor": 4})), Ok(Scaling::Linear { factor: 4.0 }));
        assert_eq!(parse(json!({"rope_theta": 10000, "rope_type": "default"})), Ok(Scaling::None));
    }

    #[test]
    fn missing_and_unknown_fields_are_named() {
        let cases = [
            (json!({"type": "linear"}), "RoPE scaling \"linear\": factor is missing"),
            (json!({"type": "yarn", "factor": 0}), "RoPE scaling \"yarn\": factor 0 is out of range"),
            (json!({"type": "yarn", "factor": 4}), "RoPE scaling \"yarn\": original_max_position_embeddings is missing"),
            (
                json!({"type": "longrope"}),
                "RoPE scaling \"longrope\" is not supported; the engine knows linear, proportional, llama3 and yarn",
            ),
        ];
        for (fields, reason) in cases {
            assert_eq!(parse(fields), Err(reason.to_string()));
        }
    }

    #[test]
    fn queries_grow_with_every_original_context() {
        let parse = |fields: Value| QueryScaling::parse(&serde_json::from_value(fields).unwrap());
        assert_eq!(parse(json!({"factor": 4.0})), Ok(None));
        let needs = "llama_4_scaling_beta needs original_max_position_embeddings";
        assert_eq!(parse(json!({"llama_4_scaling_beta": 0.1})), Err(needs.to_string()));
        let scaling = parse(json!({"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 1000})).unwrap().unwrap();
        let factors = [0, 999, 1000, 1999, 2000].map(|position| scaling.factor(position));
        assert_eq!(factors, [1.0, 1.0, 1.0 + 0.1 * 2f32.ln(), 1.0 + 0.1 * 2f32.ln(), 1.0 + 0.1 * 3f32.ln()]);
    }

    #[test]
    fn yarn_multiplies_the_context_and_scales_queries_and_keys() {
        let yarn = parse(json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768})).unwrap();
        assert_eq!(yarn.context(), Some(131_072));
        let Scaling::Yarn { magnitude, .. } = yarn else { panic!("not yarn") };
        assert!((magnitude - 1.138_629_4).abs() < 1e-6);
    }

    #[test]
    fn gpt_oss_blends_between_pairs() {
        // As its configuration has them; by hand, 64 · ln(4096 / (2π · 32)) / (2 · ln 150000) = 8.09, and 17.40 without the 32.
        let (low, high) = yarn_range(64, 150_000.0, 4096.0, 32.0, 1.0);
        assert!((low - 8.092_8).abs() < 1e-3 && (high - 17.398).abs() < 1e-3, "{low} {high}");
        let whole_pairs = |fields: Value| match parse(fields) {
            Ok(Scaling::Yarn { whole_pairs, .. }) => whole_pairs,
            other => panic!("{other:?}"),
        };
        let fields = json!({"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096});
        let mut between = fields.clone();
        between["truncate"] = json!(false);
        assert_eq!((whole_pairs(fields), whole_pairs(between)), (true, false));
    }
}
