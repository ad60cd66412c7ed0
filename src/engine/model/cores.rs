//! Work for all of the CPU's cores. MLX computes what it is asked for on one, and the BLAS library's own threads wait by
//! spinning: with other work on the machine they make a prompt ten times slower. So each core has a stream of MLX's, which is a
//! thread, and a share of the work.

use std::ops::Range;
use std::thread::available_parallelism;

use mlx_rs::error::Exception;
use mlx_rs::ops::concatenate;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, Stream, thread_local_default_stream, with_stream};

use super::cpu;

/// Fewest rows that are worth a core.
const ROWS: i32 = 64;

/// So many numbers of a matrix are worth a core where it is multiplied by too few rows to share these out.
const NUMBERS: i32 = 2 << 20;

thread_local! {
    /// MLX keeps a stream's thread to the process's end, so only the thread that owns the device should come here.
    static STREAMS: Vec<Stream> = {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        (0..cores).map(|_| Stream::new_with_device(&Device::cpu())).collect()
    };
}

/// Does something to parts of `0..length`, each on a core and at least `least` long. To all of it at once where that is not
/// twice as much, and within another share.
fn share<T>(length: i32, least: i32, act: impl Fn(Range<i32>) -> Result<T, Exception>) -> Result<Vec<T>, Exception> {
    if length < 2 * least || thread_local_default_stream().is_some() || !cpu::is_default()? {
        return Ok(vec![act(0..length)?]);
    }
    STREAMS.with(|streams| {
        let count = (length / least).min(streams.len() as i32);
        let part = |(part, stream)| with_stream(stream, || act(part * length / count..(part + 1) * length / count));
        (0..count).zip(streams).map(part).collect()
    })
}

/// What layers make of `[blocks, rows, input]`, in one or more parts, one after the other. Several blocks are one part, `[blocks,
/// rows, width]` with a width for each output; the rows of one block are shared out, each part `[1, its rows, width]`. The layers
/// get a part, and which rows it has of all `blocks * rows`.
pub fn by_rows<const N: usize>(
    x: &Array,
    layers: impl Fn(&Array, Range<i32>) -> Result<[Array; N], Exception>,
) -> Result<Vec<[Array; N]>, Exception> {
    let rows = x.dim(0) * x.dim(1);
    if x.dim(0) > 1 {
        return Ok(vec![layers(x, 0..rows)?]);
    }
    share(rows, ROWS, |part| layers(&x.try_index((.., part.clone(), ..))?, part))
}

/// The parts of one output, of which there is at least one, in one along axis 1.
pub fn joined<const N: usize>(parts: &[[Array; N]], output: usize) -> Result<Array, Exception> {
    match parts {
        [part] => Ok(part[output].clone()),
        _ => concatenate(&parts.iter().map(|part| &part[output]).collect::<Vec<_>>(), 1),
    }
}

/// The product of a matrix `[output, input]` and some rows, `[.., output]`. A large matrix is shared out: `product` gets `[part,
/// input]` of it and gives `[.., part]`.
pub fn by_outputs(weight: &Array, product: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Array, Exception> {
    let least = (NUMBERS / weight.dim(1)).max(1);
    let parts = share(weight.dim(0), least, |part| product(&weight.try_index((part, ..))?))?;
    if let [whole] = &parts[..] { Ok(whole.clone()) } else { concatenate(&parts, -1) }
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::{add, expand_dims, matmul, multiply, subtract};

    use super::*;
    use crate::engine::testing::{largest, normal};

    #[test]
    fn a_shared_out_matrix_gives_the_same_product() {
        let (weight, x) = (normal(&[3 * NUMBERS / 1024 + 5, 1024], 1), normal(&[3, 4, 1024], 2));
        let product = |x: &Array, weight: &Array| matmul(x, expand_dims(weight, 0)?.swap_axes(-1, -2)?);
        let shared = |x: &Array| by_outputs(&weight, |weight| product(x, weight)).unwrap();
        let (ours, wanted) = (shared(&x), product(&x, &weight).unwrap());
        assert_eq!(ours.shape(), wanted.shape());
        assert!(largest(&subtract(&ours, &wanted).unwrap()) < 1e-3);
        // A block is the same to the last bit alone.
        let alone = shared(&x.try_index((1..2, .., ..)).unwrap());
        let row = alone.size();
        assert!(alone.as_slice::<f32>() == &ours.as_slice::<f32>()[row..2 * row]);
    }

    #[test]
    fn cores_share_once() {
        let cores = available_parallelism().unwrap().get() as i32;
        let parts = |length| share(length, 10, |part| Ok((part.clone(), share(length, 10, Ok)?.len()))).unwrap();
        assert_eq!(parts(19), [(0..19, 1)]);
        let shared = parts(10 * cores + 7);
        assert_eq!(shared.len() as i32, cores);
        assert!(
            shared.iter().all(|(_, within)| *within == 1)
                && shared[0].0.start == 0
                && shared[shared.len() - 1].0.end == 10 * cores + 7
        );
    }

    #[test]
    fn every_row_is_taken_once_and_stays_in_its_place() {
        for shape in [[1, 5, 3], [1, 2 * ROWS, 3], [1, 5 * ROWS + 17, 3], [70, 4, 3]] {
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
