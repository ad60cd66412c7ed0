//! OpenAI's chat completions, spoken by other servers and by ours.

mod backend;
#[cfg(feature = "mlx")]
mod logprobs;
mod server;
