//! The fields of routers with sigmoids, which several families have.

use serde::Deserialize;

/// How a router with sigmoids chooses experts (DeepSeek-V3).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SigmoidRouting {
    /// Factor of the chosen experts' weights.
    #[serde(default = "unscaled")]
    pub routed_scaling_factor: f32,
    /// Groups of experts, of which only the best are chosen from.
    n_group: Option<usize>,
    scoring_func: Option<String>,
    topk_method: Option<String>,
}

fn unscaled() -> f32 {
    1.0
}

impl SigmoidRouting {
    /// Refuses routers that would silently be computed as another.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(groups) = self.n_group.filter(|groups| *groups > 1) {
            return Err(format!("n_group {groups} is not supported; the engine chooses among all experts"));
        }
        for (name, found, known) in
            [("scoring_func", &self.scoring_func, "sigmoid"), ("topk_method", &self.topk_method, "noaux_tc")]
        {
            if let Some(other) = found.as_ref().filter(|found| *found != known) {
                return Err(format!("{name} {other:?} is not supported; the engine computes {known:?}"));
            }
        }
        Ok(())
    }
}
