//! `anyclaude trace export`: traces as the files of other tools.

use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use super::folder::or_default;
use crate::cli::text::count;
use crate::cli::{CliError, print};
use crate::formats::{EXPORTERS, Export, exporter_named};
use crate::trace;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace export --to har --out traces.har traces/
  anyclaude trace export --to otlp --out spans.jsonl traces/20261128-040649
  while read -r line; do curl -H 'content-type: application/json' -d \"$line\" http://127.0.0.1:4318/v1/traces; done < spans.jsonl")]
pub(super) struct TraceExportArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The format
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    to: String,
    /// The file to write; readable by its owner only, and written over if it exists
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn format_parser() -> clap::builder::PossibleValuesParser {
    EXPORTERS.map(|exporter| clap::builder::PossibleValue::new(exporter.name()).help(exporter.title())).into()
}

pub(super) fn run(args: TraceExportArgs) -> Result<ExitCode, CliError> {
    let exporter = exporter_named(&args.to).ok_or_else(|| CliError::input(format!("no format {}", args.to)))?;
    let files = trace::find(&or_default(args.paths)?)?;
    let failed = |error: std::io::Error| CliError::input(format!("cannot write {}: {error}", args.out.display()));
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&args.out).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let mut export = Export::begin(exporter, &mut out).map_err(failed)?;
    for file in files {
        export.add(&trace::read(&file)?).map_err(failed)?;
    }
    let (written, passed) = (export.written, export.passed);
    export.end().map_err(failed)?;
    print(&format!("{}: {}\n", args.out.display(), count(written, "exchange")))?;
    if passed > 0 {
        print(&format!("not exported, since they ask for no answer of a model: {passed}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
