//! The values of flags that several commands have: the library's enums with what `--help` says of each, and time limits.

use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser, TypedValueParser};

use crate::config::Mode;
#[cfg(feature = "mlx")]
use crate::engine::{ComputePath, decode::ToolFormatName};
use crate::load::Arrivals;
use crate::replay::{FlakyPolicy, Phase, ToolChoiceMode};

/// About 30 years: clocks and timers count no longer times.
const LONGEST_S: u64 = 1_000_000_000;

/// A time limit in whole seconds.
pub(super) fn seconds() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=LONGEST_S)
}

/// `--mode`.
pub(super) fn mode() -> impl TypedValueParser<Value = Mode> {
    one_of(Mode::ALL, |mode| {
        let help = match mode {
            Mode::Mlx => {
                return PossibleValue::new(mode.name())
                    .alias("vllm-mlx")
                    .help("The MLX engine in this process, on a model folder");
            }
            Mode::Claude => "Anthropic's own API, to record the reference",
            Mode::Lmstudio => "LM Studio's server on this machine",
            Mode::Openrouter => "OpenRouter; the key is taken from OPENROUTER_API_KEY",
            Mode::Openai => "Any server that speaks OpenAI's chat completions; the key is taken from OPENAI_API_KEY",
            Mode::Anthropic => "Any server that speaks Anthropic's Messages API",
        };
        PossibleValue::new(mode.name()).help(help)
    })
}

/// `--phases`.
pub(super) fn phase() -> impl TypedValueParser<Value = Phase> {
    one_of(Phase::ALL, |phase| {
        PossibleValue::new(phase.name()).help(match phase {
            Phase::Cold => "Nothing of the prompt is cached",
            Phase::Warm => "The tools and the system prompt are cached, the conversation is not",
            Phase::Cached => "The prompt up to its last turn is cached",
        })
    })
}

/// `--arrivals`.
pub(super) fn arrivals() -> impl TypedValueParser<Value = Arrivals> {
    one_of(Arrivals::ALL, |arrivals| {
        PossibleValue::new(arrivals.name()).help(match arrivals {
            Arrivals::Poisson => "By chance, as independent clients come",
            Arrivals::Constant => "All at the same distance",
        })
    })
}

/// `--tool-choice`.
pub(super) fn tool_choice() -> impl TypedValueParser<Value = ToolChoiceMode> {
    one_of(ToolChoiceMode::ALL, |mode| {
        PossibleValue::new(mode.name()).help(match mode {
            ToolChoiceMode::Recorded => "Force the first tool that the recorded answer called, if it called one",
            ToolChoiceMode::Auto => "Let the model decide",
            ToolChoiceMode::Any => "Force some tool",
        })
    })
}

/// `--flaky`.
pub(super) fn flaky() -> impl TypedValueParser<Value = FlakyPolicy> {
    one_of(FlakyPolicy::ALL, |policy| {
        PossibleValue::new(policy.name()).help(match policy {
            FlakyPolicy::Fail => "It fails",
            FlakyPolicy::Pass => "It passes if the outcome that came most often is the accepted one",
        })
    })
}

/// `--tool-format`.
#[cfg(feature = "mlx")]
pub(super) fn tool_format() -> impl TypedValueParser<Value = ToolFormatName> {
    one_of(ToolFormatName::ALL, |format| {
        PossibleValue::new(format.name()).help(match format {
            ToolFormatName::Hermes => "`<tool_call>{\"name\": …, \"arguments\": …}</tool_call>`: Hermes, Qwen",
            ToolFormatName::Qwen3Coder => "`<tool_call><function=…><parameter=…>`: Qwen3-Coder",
            ToolFormatName::Llama3 => "`{\"name\": …, \"parameters\": …}`, also after `<|python_tag|>`: Llama 3",
            ToolFormatName::Mistral => "`[TOOL_CALLS]`: Mistral",
            ToolFormatName::DeepSeek => "`<｜tool▁calls▁begin｜>`: DeepSeek",
            ToolFormatName::Glm => "`<tool_call>…<arg_key>…</arg_key><arg_value>`: GLM",
            ToolFormatName::MiniMax => "`<minimax:tool_call><invoke name=\"…\"><parameter name=\"…\">`: MiniMax",
            ToolFormatName::Harmony => "`<|channel|>commentary to=functions.…`: gpt-oss",
            ToolFormatName::Gemma => "`<|tool_call>call:…{…}` with strings between `<|\"|>`: Gemma 4",
            ToolFormatName::OpenAi => "`{\"tool_calls\": …}` or `{\"function_call\": …}` as text",
        })
    })
}

/// `--compute-path`.
#[cfg(feature = "mlx")]
pub(super) fn compute_path() -> impl TypedValueParser<Value = ComputePath> {
    one_of(ComputePath::ALL, |path| {
        PossibleValue::new(path.name()).help(match path {
            ComputePath::Cpu => "Our own kernels, in f32: made for the CPU",
            ComputePath::Gpu => "MLX's operations, in the weights' precision: made for GPUs; on a CPU slow, and there for checks",
        })
    })
}

/// A parser of these values under the names that `describe` gives them.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    values: [T; N],
    describe: impl Fn(T) -> PossibleValue,
) -> impl TypedValueParser<Value = T> {
    let described = values.map(describe);
    let parser = PossibleValuesParser::new(described.clone());
    parser.try_map(move |name| {
        // clap has accepted the name, so one of them has it.
        let position = described.iter().position(|value| value.matches(&name, false));
        position.map(|index| values[index]).ok_or("unknown value")
    })
}
