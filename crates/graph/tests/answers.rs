//! What whole answers wait for and copy. A test program of its own: the counts are of the process.

use std::path::Path;

use anyclaude_graph::TestModel;

#[test]
fn a_token_is_waited_for_once_and_a_follow_up_copies_its_conversation_once() {
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/tiny");
    let counted = TestModel::new().unwrap().count_answers(&tokenizer).unwrap();
    insta::assert_debug_snapshot!(counted, @r"
    AnswerCount {
        waits_per_token: 1.0,
        copies_per_follow_up: 1.0,
    }
    ");
}
