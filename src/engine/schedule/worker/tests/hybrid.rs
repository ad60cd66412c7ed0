//! Where the prompts of a model with recurrent layers go on: at checkpoints.

use super::*;
use crate::engine::testing::hybrid;

/// Prompts of this many tokens begin alike and have a resume point there.
const RESUME_POINT: usize = 64;

/// A worker on the hybrid; both paths behave alike.
fn on_both_paths(test: impl Fn(TestWorker)) {
    ComputePath::ALL.into_iter().for_each(|path| test(TestWorker::of(&hybrid(), CacheLimits::default(), path)));
}

fn ask(test: &mut TestWorker, prompt: &[u32], max_tokens: usize) -> (Option<usize>, String) {
    let mut events = test.ask(prompt, max_tokens);
    test.finish();
    let (mut cached, mut said) = (None, String::new());
    while let Ok(event) = events.try_recv() {
        match event.unwrap() {
            EngineEvent::Started { cached_tokens, .. } => cached = Some(cached_tokens),
            EngineEvent::Piece(Piece::Text(piece)) => said.push_str(&piece),
            EngineEvent::Piece(_) | EngineEvent::Finished(_) => {}
        }
    }
    (cached, said)
}

/// A prompt that leaves the others after `shared` tokens.
fn branch(shared: usize, own: usize) -> Vec<u32> {
    [prompt(shared), vec![1000; own]].concat()
}

#[test]
fn a_repeat_goes_on_at_the_prompts_end_and_another_question_at_the_last_mark() {
    on_both_paths(|mut test| {
        let (cached, cold) = ask(&mut test, &prompt(150), 6);
        assert_eq!(cached, Some(0));
        assert_eq!(ask(&mut test, &prompt(150), 6), (Some(149), cold));
        assert_eq!(ask(&mut test, &branch(100, 30), 6).0, Some(RESUME_POINT));
        // What is shared ends before the first resume point.
        assert_eq!(ask(&mut test, &branch(60, 30), 6).0, Some(0));
    });
}

#[test]
fn prompts_at_once_compute_what_they_share_once() {
    on_both_paths(|mut test| {
        let mut first = test.ask(&prompt(130), 2);
        test.turns(4);
        // The first one has computed four chunks of 16 tokens, to its resume point.
        let mut second = test.ask(&prompt(130), 2);
        test.finish();
        assert_eq!((seen(&mut first).0, seen(&mut second).0), (Some(0), Some(RESUME_POINT)));
        assert!(test.computed() < 2 * 129 - RESUME_POINT as u64, "{} tokens", test.computed());
    });
}

#[test]
fn what_was_kept_of_a_prefix_is_there_for_all_that_begin_with_it() {
    on_both_paths(|mut test| {
        ask(&mut test, &prompt(150), 2);
        let (reply, mut done) = oneshot::channel();
        test.worker.queue.push_back(WorkerCommand::KeepOnly(prompt(90), reply));
        test.finish();
        done.try_recv().unwrap().unwrap();
        assert_eq!([&prompt(150), &branch(90, 9), &branch(80, 9)].map(|prompt| test.known(prompt)), [90, 90, 0]);
    });
}

#[test]
fn checkpoints_are_there_after_a_restart() {
    for path in ComputePath::ALL {
        let folder = tempfile::tempdir().unwrap();
        let disk = || Some(DiskOptions { folder: folder.path().into(), bytes: u64::MAX });
        let mut test = TestWorker::of(&hybrid(), CacheLimits::default(), path).restart(CacheLimits::default(), disk());
        let (_, cold) = ask(&mut test, &prompt(150), 6);
        let mut test = test.restart(CacheLimits::default(), disk());
        assert_eq!(ask(&mut test, &branch(100, 30), 6).0, Some(RESUME_POINT));
        assert_eq!(ask(&mut test, &prompt(150), 6), (Some(149), cold));
        // Read ahead, before anybody asks.
        let mut test = test.restart(CacheLimits::default(), disk());
        test.worker.recall_latest();
        test.finish();
        assert_eq!(test.known(&prompt(150)), 149);
    }
}
