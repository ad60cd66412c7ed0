//! Clocks that jump.
//!
//! The recorder's wall clock is moved from outside, by a library that stands before the system's: each reading is days away from
//! the one before. No clock of ours can do this inside of the product, and the system's own clock is not ours to set.

use std::process::Command;

use super::line::{LeftOut, Line};
use super::run::{Run, harming, stream};
use super::scale::Scale;
use crate::support::recorder::Recorder;

/// Forward and back by up to three days, as if by chance. The monotonic clock, which measures durations, never jumps.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static unsigned calls;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, now);
    if (id == CLOCK_REALTIME) now->tv_sec += ((int)(__sync_fetch_and_add(&calls, 1) * 2654435761u >> 16) % 7 - 3) * 86400;
    return result;
}
"#;

pub(super) fn jumps(scale: &Scale) -> Line {
    let case = "a clock that jumps by days with each look";
    if !cfg!(target_os = "linux") {
        return Line::left_out(case, LeftOut::BySystem);
    }
    let sandbox = crate::support::sandbox::Sandbox::new();
    sandbox.write("clock.c", LIBRARY);
    let (source, library) = (sandbox.path("clock.c"), sandbox.path("clock.so"));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        return Line::left_out(case, LeftOut::Lacks("a C compiler"));
    }
    let requests = scale.of(20).max(12);
    let upstream = harming(|_, answer| stream(answer));
    let recorder = Recorder::start_with(&upstream.url(), &[("LD_PRELOAD", library.to_str().unwrap())]);
    let mut run = Run::with(case, recorder);
    run.ask(requests, 4);
    run.next_works();
    let mut days = std::collections::BTreeSet::new();
    for file in run.recorder.files() {
        let trace = anyclaude::trace::read(&file).unwrap();
        days.insert(trace.recorded_at[..10].to_owned());
        let times: Vec<u64> = trace.response.events.iter().map(|event| event.at_us).collect();
        if !times.is_sorted() || times.last().is_none_or(|last| *last > 60_000_000) {
            run.line.fault(format!("times of events: {times:?}"));
        }
    }
    if days.len() < 2 {
        run.line.fault("the clock did not jump");
    }
    run.end().expect(&[("whole", requests)], &[("complete", requests)])
}
