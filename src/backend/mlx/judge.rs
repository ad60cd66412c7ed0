//! How sure the local model is of an answer: the answer is computed once more, with every choice of its calls noted.

use futures::future::{BoxFuture, FutureExt};

use super::{MlxBackend, Prepared, for_client};
use crate::backend::{BackendError, CallMargin, JudgeAnswers, JudgedAnswer, LeastMargin};
use crate::engine::EngineEvent;
use crate::engine::decode::{Piece, TokenChoice};
use crate::wire::{ErrorKind, MessagesRequest};

impl JudgeAnswers for MlxBackend {
    fn judge(&self, request: MessagesRequest, answer: Option<Vec<u32>>) -> BoxFuture<'_, Result<JudgedAnswer, BackendError>> {
        async move {
            let admitted = self.admission.admit()?;
            let prepared = self.on_text_side(move |text, unwanted| text.prepare(request, unwanted));
            let Prepared { mut generation, .. } = prepared.await?;
            generation.decoder.watch_choices();
            if let Some(answer) = answer {
                generation.max_tokens = answer.len().max(1);
                generation.sampler.teach(answer);
            }
            let mut events = for_client(self.engine.generate(generation)?, admitted.slot().await?);
            // Each call's name and arguments.
            let mut calls: Vec<(String, String)> = Vec::new();
            while let Some(event) = events.recv().await {
                match event? {
                    EngineEvent::Piece(Piece::ToolStart { name }) => calls.push((name, String::new())),
                    EngineEvent::Piece(Piece::ToolInput(json)) => {
                        if let Some((_, input)) = calls.last_mut() {
                            input.push_str(&json);
                        }
                    }
                    EngineEvent::Started { .. } | EngineEvent::Piece(_) => {}
                    EngineEvent::Finished(finished) => {
                        let (tokens, choices) = finished.choices.unwrap_or_default();
                        return Ok(JudgedAnswer { tokens, calls: margins(calls, &choices) });
                    }
                }
            }
            Err(BackendError::new(ErrorKind::Api, "engine: its thread ended during the answer"))
        }
        .boxed()
    }
}

/// The choices of each call as figures. What comes after the last call belongs to it: it might have been another call.
fn margins(calls: Vec<(String, String)>, choices: &[TokenChoice]) -> Vec<CallMargin> {
    let last = calls.len().saturating_sub(1);
    let margin = |(at, (tool, input)): (usize, (String, String))| {
        let own = || choices.iter().filter(|choice| choice.call.min(last) == at);
        let free: Vec<&TokenChoice> = own().filter(|choice| choice.is_free).collect();
        let least = free.iter().filter_map(|choice| Some((choice, choice.runner_up.as_ref()?)));
        let least = least.min_by(|(_, one), (_, other)| one.1.total_cmp(&other.1));
        CallMargin {
            tool,
            input,
            free_tokens: free.len(),
            forced_tokens: own().count() - free.len(),
            mean_logprob: free.iter().map(|choice| choice.logprob).sum::<f64>() / free.len().max(1) as f64,
            least: least.map(|(choice, (runner_up, margin))| LeastMargin {
                margin: *margin,
                argument: choice.argument.clone(),
                token: choice.at + 1,
                text: choice.text.clone(),
                runner_up: runner_up.clone(),
            }),
        }
    };
    calls.into_iter().enumerate().map(margin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(at: usize, call: usize, is_free: bool, logprob: f64, margin: f64) -> TokenChoice {
        let runner_up = Some((".md".to_owned(), margin));
        TokenChoice { at, text: ".txt".into(), call, argument: Some("file_path".into()), is_free, logprob, runner_up }
    }

    #[test]
    fn a_call_has_the_mean_of_its_free_tokens_and_the_least_of_their_margins() {
        let calls = vec![("Read".to_owned(), "{}".to_owned()), ("Bash".into(), "{}".into())];
        let choices = [
            choice(0, 0, false, -9.0, -9.0),
            choice(1, 0, true, -0.5, 0.3),
            choice(2, 0, true, -0.1, 2.0),
            choice(3, 1, true, -0.2, 1.0),
            // After the last call.
            choice(4, 2, true, -0.4, 0.7),
        ];
        let [read, bash] = &margins(calls, &choices)[..] else { panic!() };
        assert_eq!((read.free_tokens, read.forced_tokens, read.mean_logprob), (2, 1, -0.3));
        let least = read.least.as_ref().unwrap();
        assert_eq!((least.margin, least.token, least.argument.as_deref()), (0.3, 2, Some("file_path")));
        assert_eq!((bash.least.as_ref().unwrap().token, bash.free_tokens), (5, 2));
    }
}
