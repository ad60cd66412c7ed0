//! The arguments that say what answers.

use std::time::Duration;

use crate::backend::TimeLimits;
use crate::cli::choices;

/// What answers, and how long it may take.
#[derive(clap::Args, Debug)]
pub(crate) struct BackendArgs {
    /// What answers: `mlx`, the engine in this process; the base URL of a server that speaks the Messages API; or a mode of
    /// the launcher, such as lmstudio, with a URL where it is elsewhere. A replay takes several and shows them side by side,
    /// under the names before `=` or names of their own
    #[arg(long = "backend", default_value = "mlx", value_name = "[NAME=]mlx|URL|MODE[:URL]")]
    pub backends: Vec<String>,

    /// With `mlx`: the model's folder, or the name of a pulled model [default: tiny, which is in this program]. Else: the model
    /// to ask for [default: as recorded; openai and openrouter need one]. With several backends, NAME= says for which
    #[arg(long = "model", value_name = "[NAME=]DIR|NAME")]
    pub models: Vec<String>,

    #[command(flatten)]
    pub limits: TimeLimitArgs,

    /// With `mlx`: how the model writes tool calls [default: as its chat template does]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "FORMAT", value_parser = choices::tool_format())]
    pub tool_format: Option<crate::engine::decode::ToolFormatName>,

    /// With `mlx`: how the engine computes [default: as MLX's device does it best]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "PATH", value_parser = choices::compute_path())]
    pub compute_path: Option<crate::engine::ComputePath>,
}

/// How long a server may take.
#[derive(clap::Args, Debug)]
pub(crate) struct TimeLimitArgs {
    /// With a URL: how long connecting may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = choices::seconds())]
    connect_timeout: u64,

    /// With a URL: how long the server may be silent, before the first byte of an answer and between two
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = choices::seconds())]
    silence_timeout: u64,

    /// With a URL: how long a whole answer may take [default: as long as it goes on]
    #[arg(long, value_name = "SECONDS", value_parser = choices::seconds())]
    answer_timeout: Option<u64>,
}

impl TimeLimitArgs {
    /// The limits that they set.
    pub(super) fn limits(&self) -> TimeLimits {
        TimeLimits {
            connect: Duration::from_secs(self.connect_timeout),
            silence: Duration::from_secs(self.silence_timeout),
            answer: self.answer_timeout.map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        limits: TimeLimitArgs,
    }

    #[test]
    fn a_limit_is_a_time_that_clocks_count() {
        for option in ["--connect-timeout", "--silence-timeout", "--answer-timeout"] {
            for (seconds, is_one) in [("0", false), ("1", true), ("1000000000", true), ("9223372036854775807", false)] {
                let parsed = Cli::try_parse_from(["anyclaude", option, seconds]);
                assert_eq!(parsed.is_ok(), is_one, "{option} {seconds}");
            }
        }
    }
}
