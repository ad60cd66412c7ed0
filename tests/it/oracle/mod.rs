//! The engine against others: mlx-lm's numbers, transformers' prompts, a leaderboard's functions. `make oracle` makes what
//! these tests compare with and runs them.

mod functions;
mod logits;
mod prompts;
