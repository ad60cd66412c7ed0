//! `anyclaude load`: sends recorded conversations as load and prints what came of it.

mod args;

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use rustix::process::Signal;
use serde_json::Map;

pub(super) use self::args::LoadArgs;
use self::args::MOST_REQUESTS;
use super::answerer::{Answerer, Asked, Wanted, connect, host_name, model_name};
use super::destination::print_beside;
use super::signals::{self, Signals, exit_code_of};
use super::text::{count, duration};
use super::{CliError, Destination, say};
use crate::config;
use crate::load::{
    Changes, Dice, ENOUGH_WITHIN_BUDGET, Pattern, RateSearch, Sample, Workload, WorkloadError, falls_behind, run as send,
    schedule,
};
use crate::report::{LoadTarget, Measured, load};
use crate::trace;

/// Sends the load and prints what came of it.
pub(super) async fn run(args: LoadArgs) -> Result<ExitCode, CliError> {
    let (configured, asked, workload) = tokio::task::block_in_place(|| {
        let configured = config::load(&Map::new())?.settings;
        let asked = Asked::one(&args.answerer, &configured)?;
        let changes = Changes { model: asked.model_to_send(), max_tokens: args.max_tokens };
        let workload = workload(&args, changes)?;
        Ok::<_, CliError>((configured, asked, workload))
    })?;
    let wanted = Wanted { betas: &workload.betas, margins_of: None };
    let answerer = connect(&asked, &args.answerer, &wanted, &configured).await?;
    let target = LoadTarget {
        backend: asked.backend.text.clone(),
        model: model_name(&asked, answerer.backend.as_ref()),
        host: host_name(),
    };
    let generator = Generator { args: &args, workload, answerer, target };
    match args.pattern.find_rate {
        Some(start) => generator.find_rate(start).await,
        None => generator.send_once().await,
    }
}

/// The conversations of the traces.
fn workload(args: &LoadArgs, changes: Changes) -> Result<Workload, CliError> {
    let found = trace::find(&args.traces)?;
    if let Some(json) = &args.json {
        json.check_against(found.iter().map(PathBuf::as_path))?;
    }
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace));
    let traces = found.into_iter().map(read);
    let workload = Workload::of(traces, changes, args.pattern.longest_pause).map_err(|error| match error {
        WorkloadError::Trace(error) => error.into(),
        WorkloadError::Name(error) => CliError::input(error),
    })?;
    match workload.requests() {
        0 => Err(CliError::input(format!(
            "nothing to send: none of {} traces holds an answered Messages request",
            workload.skipped
        ))),
        _ => {
            if workload.skipped > 0 {
                say(format_args!("{} left out: no answered Messages request", count(workload.skipped, "trace")));
            }
            Ok(workload)
        }
    }
}

/// What sends the load.
struct Generator<'a> {
    args: &'a LoadArgs,
    workload: Workload,
    answerer: Answerer,
    target: LoadTarget,
}

impl Generator<'_> {
    async fn send_once(&self) -> Result<ExitCode, CliError> {
        let (_, measured, stopped) = self.send(self.args.pattern.pattern(), self.args.own_requests()).await?;
        self.print(&load::to_terminal(&measured))?;
        self.write(&measured)?;
        Ok(ExitCode::from(stopped.map_or_else(|| exit_code(&measured), exit_code_of)))
    }

    /// Sends the load at one rate after the other, and prints a line for each.
    async fn find_rate(&self, start: f64) -> Result<ExitCode, CliError> {
        let (mut search, mut best) = (RateSearch::from(start), None);
        while let Some(per_s) = search.next() {
            let pattern = Pattern::Rate { per_s, arrivals: self.args.pattern.arrivals };
            let least = (per_s * self.args.pattern.try_for.as_secs_f64()).ceil() as usize;
            let requests = self.args.own_requests().unwrap_or(0).max(least).clamp(1, MOST_REQUESTS);
            let (samples, measured, stopped) = self.send(pattern, Some(requests)).await?;
            if let Some(signal) = stopped {
                self.end(best, &search)?;
                return Ok(ExitCode::from(exit_code_of(signal)));
            }
            let kept_up = !falls_behind(&samples);
            self.print(&load::rate_line(per_s, &measured, kept_up))?;
            if measured.answered == 0 {
                // What was found before that is measured all the same.
                if best.is_some() {
                    search.tried(0.0, kept_up);
                    self.end(best, &search)?;
                }
                return Err(CliError::backend("the backend answered nothing at this rate; the search ends here"));
            }
            search.tried(measured.good_share().unwrap_or(0.0), kept_up);
            if search.found() == Some(per_s) {
                best = Some(measured);
            }
        }
        self.end(best, &search)
    }

    /// Prints and writes what came of a search.
    fn end(&self, best: Option<Measured>, search: &RateSearch) -> Result<ExitCode, CliError> {
        self.print(&load::search_line(search.found(), search.too_much()))?;
        let Some(best) = best else { return Ok(ExitCode::from(4)) };
        self.print(&format!("\n{}", load::to_terminal(&best)))?;
        self.write(&best)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sends so many requests of a pattern, or each trace once; gives what came of each, what was measured, and the signal that
    /// stopped it.
    async fn send(&self, pattern: Pattern, requests: Option<usize>) -> Result<(Vec<Sample>, Measured, Option<Signal>), CliError> {
        let Self { args, workload, .. } = self;
        let dice = Dice { seed: args.seed, run: rand::random() };
        let schedule = schedule(workload, pattern, requests, args.shard, dice);
        let requests: usize = schedule.conversations.iter().map(|conversation| conversation.turns.len()).sum();
        let conversations = schedule.conversations.len();
        match conversations {
            0 if args.requests.is_some() => say("nothing to send: fewer --requests than shards"),
            0 => say("nothing to send: fewer conversations than shards; --requests sends copies of them"),
            _ => {
                say(format_args!("sending {} of {}, {pattern}", count(requests, "request"), count(conversations, "conversation")))
            }
        }
        if let Pattern::AsRecorded { longest_pause_us, .. } = pattern {
            self.say_what_is_not_as_recorded(longest_pause_us);
        }
        if let Pattern::Concurrency(at_once) = pattern
            && (1..at_once.get()).contains(&conversations)
        {
            say(format_args!("only {conversations} can be sent at once: more --requests make more conversations"));
        }
        let (progress, mut samples) = (ProgressBar::new(requests as u64), Vec::<Sample>::with_capacity(requests));
        let mut signals = Signals::listen(&signals::ENDING).map_err(CliError::backend)?;
        let on_sample = |sample| {
            progress.inc(1);
            samples.push(sample);
        };
        let stopped = tokio::select! {
            () = send(schedule, self.answerer.backend.clone(), on_sample) => None,
            signal = signals.next() => Some(signal),
        };
        progress.finish_and_clear();
        if stopped.is_some() {
            say(format_args!(
                "stopped: {} of {requests} requests have no answer, and are in no figure",
                requests - samples.len()
            ));
        }
        let measured = Measured::of(&samples, self.target.clone(), pattern, args.shard, args.budget());
        Ok((samples, measured, stopped))
    }

    /// Says where the requests cannot or should not come when they came.
    fn say_what_is_not_as_recorded(&self, longest_pause_us: u64) {
        let Workload { pauses, without_end, .. } = &self.workload;
        if pauses.count > 0 {
            let (pauses, left_out) = (count(pauses.count, "pause"), pauses.left_out.as_micros() as u64);
            let longest = duration(longest_pause_us);
            say(format_args!("{pauses} cut to {longest}, {} left out; --longest-pause sets that", duration(left_out)));
        }
        if *without_end > 0 {
            let answers = count(*without_end, "answer");
            say(format_args!(
                "{answers} without a recorded end: the request after each comes as long after the one before as recorded"
            ));
        }
    }

    /// Prints lines for people.
    fn print(&self, text: &str) -> Result<(), CliError> {
        print_beside(&self.args.json, text)
    }

    fn write(&self, measured: &Measured) -> Result<(), CliError> {
        let write = |json: &Destination| tokio::task::block_in_place(|| json.write(&measured.to_json()));
        self.args.json.as_ref().map_or(Ok(()), write)
    }
}

/// 3 if nothing of what was sent was answered, 4 if too little was within the budget.
pub(super) fn exit_code(measured: &Measured) -> u8 {
    match measured.good_share() {
        _ if measured.requests > 0 && measured.answered == 0 => 3,
        Some(share) if share < ENOUGH_WITHIN_BUDGET => 4,
        _ => 0,
    }
}
