//! `anyclaude trace export`: traces as the files of other tools.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::folder::or_default;
use crate::cli::destination::{PieceError, print_beside};
use crate::cli::text::count;
use crate::cli::{CliError, Destination, say};
use crate::formats::{CountTokens, EXPORTERS, Export, Exporter, exporter_named};
use crate::trace::{self, PromptItem, TraceError, came_at, outlines};
use crate::wire::MessagesRequest;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace export --to har --out traces.har traces/
  anyclaude trace export --to otlp --out spans.jsonl traces/20261128-040649
  anyclaude trace export --to openai --out conversations.jsonl traces/
  anyclaude trace export --to weka --out sessions.jsonl traces/
  anyclaude trace export --to atif --out trajectories.jsonl traces/
  anyclaude trace export --to mooncake --model ~/models/qwen3 --out arrivals.jsonl traces/
  while read -r line; do curl -H 'content-type: application/json' -d \"$line\" http://127.0.0.1:4318/v1/traces; done < spans.jsonl")]
pub(super) struct TraceExportArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The format
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    to: String,
    /// The file to write, or `-` for standard output; readable by its owner only. One that exists is replaced once the new one is
    /// whole
    #[arg(long, value_name = "FILE")]
    out: Destination,
    /// For mooncake and weka: count in tokens of this model, with the prompt as its chat template renders it [default: a token
    /// for every four bytes of text]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<PathBuf>,
}

fn format_parser() -> clap::builder::PossibleValuesParser {
    EXPORTERS.map(|exporter| clap::builder::PossibleValue::new(exporter.name()).help(exporter.title())).into()
}

pub(super) fn run(args: TraceExportArgs) -> Result<ExitCode, CliError> {
    let exporter = exporter_named(&args.to).ok_or_else(|| CliError::input(format!("no format {}", args.to)))?;
    let counted = tokenizer(&args)?;
    let files = by_time(trace::find(&or_default(args.paths)?)?)?;
    let is_estimated = counted.is_none() && exporter.counts_tokens();
    let tokens = counted.unwrap_or_else(|| Box::new(estimated_tokens));
    args.out.check_against(files.iter().map(PathBuf::as_path))?;
    let (mut written, mut passed) = (0, 0);
    args.out.write_pieces(|out| {
        (written, passed) = export(exporter, &*tokens, files, out)?;
        Ok(())
    })?;
    let print = |text: &str| print_beside([&args.out], text);
    print(&format!("{}: {}\n", args.out, count(written, "exchange")))?;
    if is_estimated {
        say("prompts are counted by an estimate, a token for every four bytes; --model counts in a model's own tokens");
    }
    if passed > 0 {
        print(&format!("not exported, since they {}: {passed}\n", exporter.leaves_out()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes these files' exchanges. Returns how many are written, and how many have no place.
fn export(
    exporter: &dyn Exporter,
    tokens: &CountTokens<'_>,
    files: Vec<PathBuf>,
    out: &mut dyn Write,
) -> Result<(usize, usize), PieceError> {
    let mut export = Export::begin(exporter, tokens, out)?;
    for file in files {
        export.add(&file, trace::read(&file).map_err(|error| PieceError::Other(error.into()))?)?;
    }
    let counts = (export.written, export.passed);
    export.end()?;
    Ok(counts)
}

/// The files in the order in which their exchanges were recorded.
fn by_time(files: Vec<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    let times = outlines(&files, |_, _, _| Ok(()), |_, outline| Ok(came_at(&outline?.trace)));
    let mut files: Vec<_> = times.into_iter().collect::<Result<Vec<_>, TraceError>>()?.into_iter().zip(files).collect();
    // Those of one time stay in their sessions' order.
    files.sort_by_key(|(time, _)| *time);
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// A token for every four bytes, which is about what Claude Code's prompts have.
fn estimated_tokens(request: &MessagesRequest) -> Option<Vec<u32>> {
    let text: Vec<u8> = PromptItem::of_request(request).parts.into_iter().flat_map(|part| part.text.into_bytes()).collect();
    let token = |bytes: &[u8]| bytes.iter().fold(0, |token, byte| token << 8 | u32::from(*byte));
    Some(text.chunks(4).map(token).collect())
}

/// Counts tokens as the model does that was named, if one was.
#[cfg(feature = "mlx")]
fn tokenizer(args: &TraceExportArgs) -> Result<Option<Box<CountTokens<'static>>>, CliError> {
    let Some(model) = &args.model else { return Ok(None) };
    let (tokenizer, template) = crate::cli::local_model::text_side(model)?;
    Ok(Some(Box::new(move |request| template.render(request).and_then(|text| tokenizer.encode(&text)).ok())))
}

/// Models are read by the engine, which is not there.
#[cfg(not(feature = "mlx"))]
fn tokenizer(_: &TraceExportArgs) -> Result<Option<Box<CountTokens<'static>>>, CliError> {
    Ok(None)
}
