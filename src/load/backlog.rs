//! Whether a backend keeps up with a rate. One that does not answers later and later; in a short run that may still be within the
//! budget.

use super::Sample;

/// How much later answers may begin for each second of sending.
const LATER: f64 = 0.05;

/// Whether the answers to the requests of the last quarter began much later after their planned time than those of the first: by
/// more than 5% of the time between them. An answer without content begins when it ends. Being held back counts here: a rate that
/// was not sent was not borne.
pub fn falls_behind(samples: &[Sample]) -> bool {
    let begun = |sample: &Sample| Some((sample.intended_us - sample.held_us, began_us(sample)? + sample.held_us));
    let mut begins: Vec<(u64, u64)> = samples.iter().filter_map(begun).collect();
    begins.sort_unstable();
    let quarter = begins.len() / 4;
    if quarter == 0 {
        return false;
    }
    let [(early, first), (late, last)] = [&begins[..quarter], &begins[begins.len() - quarter..]].map(medians);
    last as f64 - first as f64 > LATER * (late - early) as f64
}

/// When the answer began; `None` for a request without one.
fn began_us(sample: &Sample) -> Option<u64> {
    let answer = sample.answer.as_ref().ok()?;
    Some(answer.ttft_us.unwrap_or(answer.e2e_us))
}

/// The medians of when requests were planned to begin, and of how long they waited; of at least one.
fn medians(begins: &[(u64, u64)]) -> (u64, u64) {
    let mut waits: Vec<u64> = begins.iter().map(|(_, wait)| *wait).collect();
    waits.sort_unstable();
    (begins[begins.len() / 2].0, waits[waits.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::super::Answered;
    use super::*;

    /// Requests at a constant rate for 20 seconds, to a server that bears 100 a second, each after 0.2 s; its answers have
    /// content or not.
    fn sent_at(per_s: u64, has_content: bool) -> Vec<Sample> {
        (0..20 * per_s)
            .map(|number| {
                let intended_us = number * 1_000_000 / per_s;
                let ttft_us = (number * 10_000).saturating_sub(intended_us) + 200_000;
                let answer = Answered {
                    ttft_us: has_content.then_some(ttft_us),
                    lacks_content: !has_content,
                    tpot_us: None,
                    e2e_us: ttft_us,
                    prompt_tokens: 0,
                    cache_read_tokens: None,
                    output_tokens: 1,
                };
                Sample { id: "a".into(), intended_us, held_us: 0, late_us: 0, answer: Ok(answer) }
            })
            .collect()
    }

    #[test]
    fn a_queue_that_grows_is_found_before_the_budget_is_used_up() {
        for (per_s, behind) in [(1, false), (50, false), (100, false), (104, false), (107, true), (150, true), (1000, true)] {
            assert_eq!(falls_behind(&sent_at(per_s, true)), behind, "{per_s}");
            assert_eq!(falls_behind(&sent_at(per_s, false)), behind, "{per_s}, without content");
        }
        assert!(!falls_behind(&[]));
    }
}
