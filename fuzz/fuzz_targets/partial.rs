#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anyclaude::fuzzing::partial(bytes));
