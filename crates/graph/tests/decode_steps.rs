//! What a decoding step takes, held as a snapshot: a change that makes it more on a GPU is seen on every machine.

use std::fmt::Write;

use anyclaude_graph::{StepCount, TestModel};

#[test]
fn a_decoding_step_takes_as_many_operations_after_any_conversation() {
    let counts = TestModel::new().unwrap().count().unwrap();
    let mut table = format!("{:>6}  {:<15}  {:>10}  {:>8}  {:>9}\n", "tokens", "step", "operations", "products", "attention");
    for StepCount { tokens, step, operations } in &counts {
        let (all, products, attention) = (operations.all(), operations.products(), operations.attention());
        writeln!(table, "{tokens:>6}  {:<15}  {all:>10}  {products:>8}  {attention:>9}", step.name()).unwrap();
    }
    insta::assert_snapshot!(table);
    for StepCount { step, operations, .. } in &counts {
        let of_step = counts.iter().filter(|count| count.step == *step);
        assert!(
            of_step.map(|count| &count.operations).all(|other| other == operations),
            "{}: depends on the length",
            step.name()
        );
    }
}
