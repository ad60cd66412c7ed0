//! Attention of single tokens by MLX's plain operations, for devices without our kernel. The tokens may belong to one sequence
//! or to several. Keys and values are read where they are: nothing that grows with the conversation is copied for a token.
//!
//! Spans that several rows see (conversations that begin alike, new tokens of one sequence) are read once for all of them,
//! which also saves operations. Each row is still computed by the same operations as alone.

use std::collections::HashMap;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, concatenate, matmul, multiply, softmax_axis, swap_axes};

use super::kv_spans::{KvSpan, KvSpans};

/// The attention output, `[R, H · d]`, of queries `[R, H, 1, d]`; `visible` holds the keys and values that each row sees.
pub(super) fn row_attention(queries: &Array, visible: &[KvSpans]) -> Result<Array, Exception> {
    let &[_, heads, 1, width] = queries.shape() else { return Err(Exception::custom("queries must be [R, H, 1, d]")) };
    let scale = Array::from_f32((width as f32).powf(-0.5)).as_dtype(queries.dtype())?;
    // Grouped queries: the H / K query heads of a key/value head become the rows of one matrix.
    let kv_heads = visible[0].as_slice()[0].key_buffer.dim(1);
    let queries = multiply(queries, scale)?.reshape(&[-1, kv_heads, heads / kv_heads, width])?;
    let groups = span_groups(visible);
    let softmax = |scores: Array| softmax_axis(scores, -1, true);
    let weights = scores(&queries, &groups, visible.len())?.into_iter().map(softmax).collect::<Result<Vec<_>, _>>()?;

    // Each row's sum of weighted values so far, and the number of tokens in it.
    let mut output: Vec<Option<Array>> = vec![None; visible.len()];
    let mut starts = vec![0; visible.len()];
    for SpanGroup { rows, spans } in &groups {
        let end = |start: i32| start + spans.iter().map(|span| span.len()).sum::<i32>();
        let own = |row: &usize| weights[*row].try_index((.., .., .., starts[*row]..end(starts[*row])));
        let weights = joined(rows.iter().map(own).collect::<Result<_, _>>()?, 0)?;
        let so_far = rows.iter().filter_map(|row| output[*row].take()).collect::<Vec<_>>();
        let mut sum = if so_far.is_empty() { None } else { Some(joined(so_far, 0)?) };
        let mut start = 0;
        for span in spans {
            let end = start + span.len();
            let part = matmul(weights.try_index((.., .., .., start..end))?, span.values()?)?;
            sum = Some(match sum {
                Some(before) => add(before, part)?,
                None => part,
            });
            start = end;
        }
        for (place, row) in rows.iter().enumerate() {
            output[*row] = sum.as_ref().map(|sum| nth(sum, place, rows.len())).transpose()?;
            starts[*row] += start;
        }
    }
    joined(output.into_iter().flatten().collect(), 0)?.reshape(&[visible.len() as i32, heads * width])
}

/// Consecutive spans that the same rows see.
struct SpanGroup<'a> {
    rows: Vec<usize>,
    spans: Vec<&'a KvSpan>,
}

/// All spans, grouped by the rows that see them. Rows share a span only if all spans before it are the same too; so each row's
/// spans come in its own order.
fn span_groups(visible: &[KvSpans]) -> Vec<SpanGroup<'_>> {
    // A tree of spans: a shared one is found by the node before it, its buffers and its range.
    let mut nodes: Vec<(&KvSpan, Vec<usize>)> = Vec::new();
    let mut known = HashMap::new();
    for (row, spans) in visible.iter().enumerate() {
        let mut before = None;
        for span in spans.as_slice() {
            let place = span.buffer_id.map(|buffer| (before, buffer, span.range.clone()));
            let node = place.as_ref().and_then(|place| known.get(place).copied()).unwrap_or_else(|| {
                nodes.push((span, Vec::new()));
                known.extend(place.map(|place| (place, nodes.len() - 1)));
                nodes.len() - 1
            });
            nodes[node].1.push(row);
            before = Some(node);
        }
    }
    let mut groups: Vec<SpanGroup> = Vec::new();
    for (span, rows) in nodes {
        match groups.last_mut() {
            Some(last) if last.rows == rows => last.spans.push(span),
            _ => groups.push(SpanGroup { rows, spans: vec![span] }),
        }
    }
    groups
}

/// Each row's scores against all `T` keys that it sees: `[1, K, H / K, T]`.
fn scores(queries: &Array, groups: &[SpanGroup], rows: usize) -> Result<Vec<Array>, Exception> {
    let mut scores = vec![Vec::new(); rows];
    for SpanGroup { rows, spans } in groups {
        let own = rows.iter().map(|row| nth(queries, *row, queries.dim(0) as usize)).collect::<Result<_, _>>()?;
        let queries = joined(own, 0)?;
        let parts = spans.iter().map(|span| matmul(&queries, swap_axes(span.keys()?, 2, 3)?));
        let all = joined(parts.collect::<Result<_, _>>()?, 3)?;
        for (place, row) in rows.iter().enumerate() {
            scores[*row].push(nth(&all, place, rows.len())?);
        }
    }
    scores.into_iter().map(|parts| joined(parts, 3)).collect()
}

/// Row number `row` of `of` rows along the first axis.
fn nth(rows: &Array, row: usize, of: usize) -> Result<Array, Exception> {
    let row = row as i32;
    if of == 1 { Ok(rows.clone()) } else { rows.try_index((row..row + 1, .., .., ..)) }
}

/// At least one array, joined along an axis.
fn joined(parts: Vec<Array>, axis: i32) -> Result<Array, Exception> {
    if let [only] = &parts[..] { Ok(only.clone()) } else { concatenate(&parts, axis) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{largest, normal};
    use mlx_rs::fast::scaled_dot_product_attention;
    use mlx_rs::ops::subtract;

    /// A span of `tokens` tokens. Those with the same `buffer` above 0 share it; 0 is a buffer that nobody shares.
    fn span(kv_heads: i32, tokens: i32, buffer: usize) -> KvSpan {
        let array = |seed: u64| normal(&[1, kv_heads, tokens, 16], 1000 * seed + 100 * buffer as u64 + tokens as u64);
        KvSpan { buffer_id: Some(buffer).filter(|buffer| *buffer > 0), ..KvSpan::new(array(1), array(2)) }
    }

    /// What each row sees, as tokens and buffer of each span.
    fn visible<const N: usize>(kv_heads: i32, rows: [&[(i32, usize)]; N]) -> [KvSpans; N] {
        rows.map(|row| KvSpans::new(row.iter().map(|(tokens, buffer)| span(kv_heads, *tokens, *buffer)).collect()))
    }

    #[test]
    fn attention_over_spans_gives_what_the_fused_one_gives() {
        for (heads, kv_heads, sizes) in [(4, 2, &[1, 512, 387][..]), (2, 2, &[1]), (6, 1, &[39, 1])] {
            let queries = normal(&[1, heads, 1, 16], 1);
            let kv = KvSpans::new(sizes.iter().map(|tokens| span(kv_heads, *tokens, 0)).collect());
            let (keys, values) = kv.concatenated().unwrap();
            let fused = scaled_dot_product_attention(&queries, keys, values, 0.25, None, None).unwrap();
            let fused = fused.reshape(&[1, heads * 16]).unwrap();
            let ours = row_attention(&queries, std::slice::from_ref(&kv)).unwrap();
            let difference = largest(&subtract(&fused, ours).unwrap());
            assert!(difference < 1e-5, "{sizes:?} tokens differ by {difference}");
        }
    }

    #[test]
    fn rows_that_share_spans_get_what_each_gets_alone() {
        // A common beginning, branches, and a shared buffer after spans that differ.
        let rows: [&[(i32, usize)]; 5] = [
            &[(100, 1), (64, 2), (3, 0)],
            &[(100, 1), (64, 2), (4, 0)],
            &[(100, 1), (50, 3), (64, 2), (9, 0)],
            &[(7, 0)],
            &[(100, 1), (50, 3)],
        ];
        let visible = visible(2, rows);
        let queries = normal(&[8, 4, 1, 16], 1);
        let together = row_attention(&queries, &visible).unwrap();
        for (row, kv) in visible.into_iter().enumerate() {
            let alone = row_attention(&nth(&queries, row, 8).unwrap(), &[kv]).unwrap();
            let of_row = together.try_index((row as i32..row as i32 + 1, ..)).unwrap();
            assert_eq!(largest(&subtract(of_row, alone).unwrap()), 0.0, "row {row}");
        }
    }

    #[test]
    fn shared_spans_are_read_once() {
        let rows: [&[(i32, usize)]; 3] = [&[(8, 1), (8, 2), (3, 0)], &[(8, 1), (8, 2), (3, 0)], &[(8, 1), (5, 0)]];
        let visible = visible(1, rows);
        let found: Vec<_> = span_groups(&visible).into_iter().map(|group| (group.rows, group.spans.len())).collect();
        assert_eq!(found, [(vec![0, 1, 2], 1), (vec![0, 1], 1), (vec![0], 1), (vec![1], 1), (vec![2], 1)]);
    }
}
