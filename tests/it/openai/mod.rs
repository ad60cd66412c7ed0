//! OpenAI's chat completions, spoken by other servers and by ours.

mod backend;
mod server;
