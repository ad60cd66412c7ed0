//! Splits work among the CPU's cores, with one MLX stream (a thread) per core.
//!
//! MLX computes each stream on one core. OpenBLAS could use several, but its threads wait by spinning, which makes prefill ten
//! times slower when the machine has other work; so it is limited to one thread.

use std::ops::Range;
use std::thread::available_parallelism;

use mlx_rs::error::Exception;
use mlx_rs::ops::concatenate;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, Stream, thread_local_default_stream, with_stream};

/// Fewest rows per core: with fewer, handing them over costs more than it saves.
const MIN_ROWS: i32 = 64;

/// Fewest weights per core when a matrix is split, for products of too few rows to split these.
const MIN_WEIGHTS: i32 = 2 << 20;

thread_local! {
    /// One stream per core. MLX never ends a stream's thread, so only the thread that owns the device should create them.
    static STREAMS: Vec<Stream> = {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        (0..cores).map(|_| Stream::new_with_device(&Device::cpu())).collect()
    };
}

/// Splits `0..length` into at most one range per core, none shorter than `least`; runs once over everything if it cannot be
/// halved or is already inside a split. Returns the results in order.
fn split<T>(length: i32, least: i32, act: impl Fn(Range<i32>) -> Result<T, Exception>) -> Result<Vec<T>, Exception> {
    if length < 2 * least || thread_local_default_stream().is_some() {
        return Ok(vec![act(0..length)?]);
    }
    STREAMS.with(|streams| {
        let count = (length / least).min(streams.len() as i32);
        let part = |(part, stream)| with_stream(stream, || act(part * length / count..(part + 1) * length / count));
        (0..count).zip(streams).map(part).collect()
    })
}

/// Runs layers over `[n, R / n, input]`, with `N` outputs each. With `n = 1` the rows are split among the cores: the result is
/// one or more parts `[1, rows of the part, width]`, in order. With `n > 1` it is one part, `[n, R / n, width]`. The layers get
/// the part's input and its range of the `R` rows.
pub(crate) fn by_rows<const N: usize>(
    x: &Array,
    layers: impl Fn(&Array, Range<i32>) -> Result<[Array; N], Exception>,
) -> Result<Vec<[Array; N]>, Exception> {
    let rows = x.dim(0) * x.dim(1);
    if x.dim(0) > 1 {
        return Ok(vec![layers(x, 0..rows)?]);
    }
    split(rows, MIN_ROWS, |part| layers(&x.try_index((.., part.clone(), ..))?, part))
}

/// Joins the parts (at least one) of one output of [`by_rows`].
pub(crate) fn joined<const N: usize>(parts: &[[Array; N]], output: usize) -> Result<Array, Exception> {
    match parts {
        [part] => Ok(part[output].clone()),
        _ => concatenate(&parts.iter().map(|part| &part[output]).collect::<Vec<_>>(), 1),
    }
}

/// A product with a matrix `[output, input]`, which is split among the cores by outputs if it is large: `product` gets some of
/// its rows, `[part, input]`, and returns `[.., part]`.
pub(crate) fn by_outputs(weight: &Array, product: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Array, Exception> {
    let least = (MIN_WEIGHTS / weight.dim(1)).max(1);
    let parts = split(weight.dim(0), least, |part| product(&weight.try_index((part, ..))?))?;
    if let [whole] = &parts[..] { Ok(whole.clone()) } else { concatenate(&parts, -1) }
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::{add, expand_dims, matmul, multiply, subtract};

    use super::*;
    use crate::engine::testing::{largest, normal};

    #[test]
    fn a_split_matrix_gives_the_same_product() {
        let (weight, x) = (normal(&[3 * MIN_WEIGHTS / 1024 + 5, 1024], 1), normal(&[3, 4, 1024], 2));
        let product = |x: &Array, weight: &Array| matmul(x, expand_dims(weight, 0)?.swap_axes(-1, -2)?);
        let split = |x: &Array| by_outputs(&weight, |weight| product(x, weight)).unwrap();
        let (ours, wanted) = (split(&x), product(&x, &weight).unwrap());
        assert_eq!(ours.shape(), wanted.shape());
        assert!(largest(&subtract(&ours, &wanted).unwrap()) < 1e-3);
        // An entry of the batch gets the same bits alone.
        let alone = split(&x.try_index((1..2, .., ..)).unwrap());
        let row = alone.size();
        assert!(alone.as_slice::<f32>() == &ours.as_slice::<f32>()[row..2 * row]);
    }

    #[test]
    fn a_split_within_a_split_runs_once() {
        let cores = available_parallelism().unwrap().get() as i32;
        let parts = |length| split(length, 10, |part| Ok((part.clone(), split(length, 10, Ok)?.len()))).unwrap();
        assert_eq!(parts(19), [(0..19, 1)]);
        let all = parts(10 * cores + 7);
        assert_eq!(all.len() as i32, cores);
        assert!(all.iter().all(|(_, within)| *within == 1));
        assert!(all[0].0.start == 0 && all[all.len() - 1].0.end == 10 * cores + 7);
    }

    #[test]
    fn every_row_is_computed_once_and_stays_in_its_place() {
        for shape in [[1, 5, 3], [1, 2 * MIN_ROWS, 3], [1, 5 * MIN_ROWS + 17, 3], [70, 4, 3]] {
            let x = normal(&shape, 1);
            let first = |rows: Range<i32>| Array::from_slice(&vec![rows.start as f32; rows.len()], &[1, rows.len() as i32, 1]);
            let parts = by_rows(&x, |x, rows| Ok([multiply(x, x)?, add(x, x)?, first(rows)])).unwrap();
            for (output, wanted) in [multiply(&x, &x), add(&x, &x)].into_iter().enumerate() {
                let (ours, wanted) = (joined(&parts, output).unwrap(), wanted.unwrap());
                assert_eq!((ours.shape(), ours.as_slice::<f32>()), (wanted.shape(), wanted.as_slice::<f32>()));
            }
            let mut rows = 0;
            for [part, _, first] in &parts {
                assert_eq!(first.as_slice::<f32>()[0], rows as f32);
                rows += part.dim(0) * part.dim(1);
            }
        }
    }
}
