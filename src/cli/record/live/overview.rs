//! What is in flight at a recorder, and what it all came to so far.
//!
//! Only requests in flight take memory, however many have gone before.

use std::collections::HashMap;
use std::time::Instant;

use indicatif::HumanBytes;

use super::bill::{Bill, Prices};
use super::foreign::foreign;
use crate::cli::text::{count, duration, grouped};
use crate::record::{Answering, ExchangeName, Notice, Opened, Recorded};
use crate::server::Totals;
use crate::trace::ExchangeOutcome;
use crate::wire::{Endpoint, Usage, percent_of, total_tokens};

/// The most requests that have a line of their own.
const SHOWN: usize = 12;

/// What is in flight, and the sums of what has been recorded.
#[derive(Debug)]
pub(in crate::cli) struct Overview {
    flight: HashMap<ExchangeName, InFlight>,
    /// Answers that have token counts.
    totals: Totals,
    bill: Bill,
    /// Bytes sent to clients.
    bytes: u64,
}

/// A request whose exchange is not over.
#[derive(Debug)]
struct InFlight {
    since: Instant,
    /// The model that it asks for, or else its path.
    what: String,
    ttft_us: Option<u64>,
    usage: Option<Usage>,
}

impl Overview {
    /// Of a recorder that has just started.
    pub(in crate::cli::record) fn new(prices: Prices) -> Self {
        Self { flight: HashMap::new(), totals: Totals::default(), bill: Bill::new(prices), bytes: 0 }
    }

    /// Takes in what happened at this time.
    pub(in crate::cli::record) fn take(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Opened(Opened { exchange, path, model }) => {
                let what = foreign(model.as_deref().unwrap_or(path));
                self.flight.insert(exchange.clone(), InFlight { since: now, what, ttft_us: None, usage: None });
            }
            Notice::Answering(Answering { exchange, ttft_us, usage }) => {
                if let Some(request) = self.flight.get_mut(exchange) {
                    (request.ttft_us, request.usage) = (*ttft_us, usage.clone());
                }
            }
            Notice::Bytes(bytes) => self.bytes = total_tokens([self.bytes, *bytes as u64]),
            Notice::Recorded(recorded) => self.add(recorded),
            Notice::Closed(exchange) => drop(self.flight.remove(exchange)),
            Notice::Removed(_) | Notice::Failed(_) => {}
        }
    }

    fn add(&mut self, recorded: &Recorded) {
        if costs(recorded) {
            // An answer that was cut off has said at most what it had cost by then.
            let whole = recorded.usage.as_ref().filter(|_| recorded.outcome == ExchangeOutcome::Complete);
            self.bill.add(recorded.model.as_deref(), whole);
        }
        let Some(usage) = &recorded.usage else { return };
        let Totals { requests, prompt_tokens, cached_tokens, output_tokens } = &mut self.totals;
        *requests += 1;
        *prompt_tokens = total_tokens([*prompt_tokens, usage.prompt_tokens()]);
        *cached_tokens = total_tokens([*cached_tokens, usage.cache_read_input_tokens.unwrap_or(0)]);
        *output_tokens = total_tokens([*output_tokens, usage.output_tokens]);
    }

    /// What all answers cost, to be put behind a sentence; empty if there are no prices.
    pub(in crate::cli::record) fn cost(&self) -> String {
        self.bill.to_string()
    }

    /// A line for each of the oldest requests in flight, as far as they fit into this height, then the sums.
    pub(in crate::cli::record) fn lines(&self, now: Instant, height: usize) -> Vec<String> {
        // The sums are the last line, and how many more there are may be the one before.
        let shown = height.saturating_sub(2).min(SHOWN);
        let mut flight: Vec<_> = self.flight.iter().collect();
        flight.sort_by_key(|(exchange, request)| (request.since, exchange.seq));
        let mut lines: Vec<String> =
            flight.iter().take(shown).map(|(exchange, request)| format!("  {exchange}  {}", request.words(now))).collect();
        if flight.len() > shown {
            lines.push(format!("  and {} more", flight.len() - shown));
        }
        let in_flight = count(flight.len(), "request");
        lines.push(format!("{in_flight} in flight, {}; {}{}", HumanBytes(self.bytes), self.totals, self.bill));
        lines
    }
}

/// Whether upstreams ask money for it: an answer that has begun, whether it has said its tokens or not.
fn costs(Recorded { path, status, usage, .. }: &Recorded) -> bool {
    let answers = !matches!(Endpoint::of_path(path), Endpoint::CountTokens | Endpoint::Other);
    (200..300).contains(status) && (answers || usage.is_some())
}

impl InFlight {
    fn words(&self, now: Instant) -> String {
        let first = match self.ttft_us {
            Some(us) => format!("TTFT {}", duration(us)),
            None => format!("{} s", now.saturating_duration_since(self.since).as_secs()),
        };
        let mut words = format!("{}  {first}", self.what);
        if let Some(usage) = &self.usage {
            let (prompt, read) = (usage.prompt_tokens(), usage.cache_read_input_tokens.unwrap_or(0));
            let share = percent_of(read, prompt);
            let (prompt, output) = (grouped(prompt), grouped(usage.output_tokens));
            words.push_str(&format!(", {prompt} prompt tokens ({share}% from the cache), {output} output tokens"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::bill::tests::prices;
    use super::*;

    fn name(seq: u32) -> ExchangeName {
        ExchangeName { session: "s".into(), seq }
    }

    fn opened(seq: u32, model: Option<&str>) -> Notice {
        Notice::Opened(Opened { exchange: name(seq), path: "/v1/models".into(), model: model.map(str::to_owned) })
    }

    fn usage(output_tokens: u64) -> Option<Usage> {
        Some(Usage { input_tokens: 100, cache_read_input_tokens: Some(900), output_tokens, ..Usage::default() })
    }

    fn recorded(seq: u32) -> Notice {
        Notice::Recorded(Recorded {
            exchange: name(seq),
            model: Some("large".into()),
            method: "POST".into(),
            path: "/v1/messages".into(),
            status: 200,
            events: 9,
            ttft_us: Some(1_000),
            e2e_us: Some(2_000),
            outcome: ExchangeOutcome::Complete,
            usage: usage(50),
        })
    }

    #[test]
    fn each_request_in_flight_has_a_line_and_the_sums_are_below() {
        let (mut overview, start) = (Overview::new(prices()), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        overview.take(&opened(1, Some("large")), at(0));
        overview.take(&opened(2, Some("small\u{1b}[2J\n")), at(1));
        overview.take(&opened(3, None), at(2));
        overview.take(&opened(4, Some("large")), at(3));
        overview.take(&Notice::Answering(Answering { exchange: name(1), ttft_us: Some(812_000), usage: usage(1) }), at(3));
        overview.take(&Notice::Bytes(2048), at(3));
        overview.take(&recorded(4), at(4));
        overview.take(&Notice::Closed(name(4)), at(4));
        insta::assert_snapshot!(overview.lines(at(9), 24).join("\n"), @r"
          s/0001  large  TTFT 812 ms, 1,000 prompt tokens (90% from the cache), 1 output tokens
          s/0002  small\u001b[2J\n  8 s
          s/0003  /v1/models  7 s
        3 requests in flight, 2.00 KiB; 1 request, 1000 prompt tokens (90% from the cache), 50 output tokens, $0.0013
        ");
    }

    #[test]
    fn no_answer_without_its_costs_is_left_out() {
        let (mut overview, now) = (Overview::new(prices()), Instant::now());
        let mut answer = |path: &str, status, outcome, usage: Option<Usage>| {
            let Notice::Recorded(whole) = recorded(1) else { unreachable!() };
            overview.take(&Notice::Recorded(Recorded { path: path.into(), status, outcome, usage, ..whole }), now);
            overview.cost()
        };
        let complete = ExchangeOutcome::Complete;
        assert_eq!(answer("/v1/messages", 200, complete, usage(50)), ", $0.0013");
        // A chat stream that was not asked for its usage.
        assert_eq!(
            answer("/v1/chat/completions", 200, complete, None),
            ", $0.0013 and 1 answer of unknown cost (the first: its tokens are not all known)"
        );
        // One that was cut off has said the tokens of its beginning.
        let cut = answer("/v1/messages", 200, ExchangeOutcome::ClientClosed, usage(1));
        assert_eq!(cut, ", $0.0013 and 2 answers of unknown cost (the first: its tokens are not all known)");
        // An error, a count and a list cost nothing.
        for (path, status) in
            [("/v1/messages", 529), ("/v1/messages/count_tokens", 200), ("/v1/models", 200), ("/v1/responses", 0)]
        {
            assert_eq!(answer(path, status, complete, None), cut, "{path}");
        }
    }

    #[test]
    fn ten_thousand_exchanges_leave_nothing_but_sums() {
        let (mut overview, now) = (Overview::new(prices()), Instant::now());
        for seq in 1..=10_000 {
            overview.take(&opened(seq, Some("large")), now);
            overview.take(&recorded(seq), now);
            overview.take(&Notice::Closed(name(seq)), now);
        }
        assert!(overview.flight.is_empty());
        insta::assert_snapshot!(overview.lines(now, 24).join("\n"), @"0 requests in flight, 0 B; 10000 requests, 10000000 prompt tokens (90% from the cache), 500000 output tokens, $13.20");
    }

    #[test]
    fn a_crowd_has_no_more_lines_than_fit() {
        let (mut overview, now) = (Overview::new(Prices::new()), Instant::now());
        (1..=1_000).for_each(|seq| overview.take(&opened(seq, None), now));
        let lines = overview.lines(now, 24);
        assert_eq!((lines.len(), &*lines[SHOWN]), (SHOWN + 2, "  and 988 more"));
        assert!(lines[0].starts_with("  s/0001 "), "{}", lines[0]);
        // On a small terminal the sums stay.
        let few = overview.lines(now, 6);
        assert_eq!((few.len(), &*few[4]), (6, "  and 996 more"));
        assert!(few[5].starts_with("1000 requests in flight"), "{}", few[5]);
        assert!(overview.lines(now, 0)[1].starts_with("1000 requests in flight"));
    }
}
