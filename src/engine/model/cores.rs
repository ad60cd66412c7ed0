//! Work for all of the CPU's cores. MLX computes what it is asked for on one, and the BLAS library's own threads wait by
//! spinning: with other work on the machine they make a prompt ten times slower. So each core has a stream of MLX's, which is a
//! thread, and a share of the work.

use std::ops::Range;
use std::thread::available_parallelism;

use mlx_rs::error::Exception;
use mlx_rs::ops::concatenate;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, Device, Stream, with_stream};

use super::cpu;

/// Fewest rows that are worth a core.
pub const ROWS: i32 = 64;

/// So many numbers of a matrix are worth a core where it is multiplied by few rows, which takes as long as reading it.
const NUMBERS: i32 = 2 << 20;

thread_local! {
    static STREAMS: Vec<Stream> = {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        (0..cores).map(|_| Stream::new_with_device(&Device::cpu())).collect()
    };
}

/// Does something to parts of `0..length`, each on a core and at least `least` long: all of it, where that is not twice as much.
fn share<T>(length: i32, least: i32, act: impl Fn(Range<i32>) -> Result<T, Exception>) -> Result<Vec<T>, Exception> {
    if length < 2 * least || !cpu::is_default()? {
        return Ok(vec![act(0..length)?]);
    }
    STREAMS.with(|streams| {
        let count = (length / least).min(streams.len() as i32);
        let part = |(part, stream)| with_stream(stream, || act(part * length / count..(part + 1) * length / count));
        (0..count).zip(streams).map(part).collect()
    })
}

/// What layers make of `[blocks, rows, input]`: each `[blocks, rows, output]`, in parts, one after the other. One block's rows
/// are shared out. The layers are told which rows of all they have.
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

/// The parts of one output in one.
pub fn joined<const N: usize>(parts: &[[Array; N]], output: usize) -> Result<Array, Exception> {
    match parts {
        [part] => Ok(part[output].clone()),
        _ => concatenate(&parts.iter().map(|part| &part[output]).collect::<Vec<_>>(), 1),
    }
}

/// The product of a matrix `[output, input]` and fewer than [`ROWS`] rows, `[.., output]`. A large matrix is shared out.
pub fn by_outputs(weight: &Array, product: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Array, Exception> {
    let least = (NUMBERS / weight.dim(1)).max(1);
    let parts = share(weight.dim(0), least, |part| product(&weight.try_index((part, ..))?))?;
    if let [whole] = &parts[..] { Ok(whole.clone()) } else { concatenate(&parts, -1) }
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::{add, matmul, multiply, subtract};

    use super::*;
    use crate::engine::testing::{largest, normal};

    #[test]
    fn a_shared_out_matrix_gives_the_same_product() {
        let (weight, x) = (normal(&[3 * NUMBERS / 1024 + 5, 1024], 1), normal(&[2, 4, 1024], 2));
        let product = |weight: &Array| matmul(&x, weight.t());
        let (ours, wanted) = (by_outputs(&weight, product).unwrap(), product(&weight).unwrap());
        assert_eq!(ours.shape(), wanted.shape());
        assert!(largest(&subtract(&ours, &wanted).unwrap()) < 1e-3);
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
