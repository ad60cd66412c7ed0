//! `anyclaude trace import`: files that other tools wrote.

mod claude_code;
mod http;
mod observed;
