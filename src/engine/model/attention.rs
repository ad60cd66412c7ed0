//! Causal attention.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};

/// What each query gathers from the values of its own token and those before.
///
/// Queries are `[1, heads, L, D]`, the last `L` of the `T` tokens that keys and values, `[1, kv_heads, T, D]`, have.
pub fn causal_attention(queries: &Array, keys: &Array, values: &Array) -> Result<Array, Exception> {
    let scale = (queries.dim(3) as f32).powf(-0.5);
    if queries.dim(2) == 1 {
        scaled_dot_product_attention(queries, keys, values, scale, None, None)
    } else {
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Causal, None)
    }
}
