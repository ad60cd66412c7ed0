//! The operations that MLX has still to compute for an array.

use std::collections::BTreeMap;

use mlx_rs::Array;
use serde::Deserialize;

use crate::dot;

/// Why a graph cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// No memory for the graph's text.
    #[error("cannot write the graph: {0}")]
    Memory(#[from] std::io::Error),
    /// MLX cannot write the graph.
    #[error("MLX cannot write the graph")]
    Mlx,
}

/// How many operations there are of each kind, by MLX's name of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Operations(BTreeMap<String, usize>);

impl Operations {
    /// All operations.
    pub fn all(&self) -> usize {
        self.0.values().sum()
    }

    /// Matrix products, those of attention included: two for each call, where MLX has no fused operation for it, as on a CPU.
    pub fn products(&self) -> usize {
        self.of("Matmul") + self.of("QuantizedMatmul")
    }

    /// Calls of attention: in a dense model, nothing else takes a softmax.
    pub fn attention(&self) -> usize {
        self.of("Softmax") + self.of("ScaledDotProductAttention")
    }

    fn of(&self, kind: &str) -> usize {
        self.0.get(kind).copied().unwrap_or(0)
    }
}

/// The operations from evaluated arrays to this one, each counted once.
pub fn operations(output: &Array) -> Result<Operations, GraphError> {
    Ok(count(&dot::export(output)?))
}

/// Counts the operations of a graph in DOT: nodes such as `{ 94447881225424 [label ="Matmul", shape=rectangle]; }`. Arrays are
/// nodes without a shape.
fn count(dot: &str) -> Operations {
    let mut counts = BTreeMap::new();
    for line in dot.lines().filter(|line| line.contains("shape=rectangle")) {
        if let Some(kind) = line.split('"').nth(1) {
            *counts.entry(kind.to_owned()).or_insert(0) += 1;
        }
    }
    Operations(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_counted_once_and_what_is_evaluated_is_none() {
        let x = Array::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], &[2, 2]);
        let product = x.matmul(&x).unwrap();
        // The product is used twice.
        let sum = product.add(&product).unwrap();
        let counted = operations(&sum).unwrap();
        assert_eq!((counted.all(), counted.products(), counted.of("Add")), (2, 1, 1));
        product.eval().unwrap();
        assert_eq!(operations(&product).unwrap(), Operations::default());
    }
}
