//! What MLX this binary runs on: version, device, BLAS, and how fast it multiplies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mlx_rs::{Array, Device, DeviceType, random};

use super::requirement::{Presence, Requirement};
use crate::engine::{loaded_libraries, mlx_version};

/// Side of the square matrices that are multiplied to measure the speed.
const SIDE: i32 = 1024;
/// The best of these rounds counts: during the first ones threads are still waking up.
const ROUNDS: usize = 4;

/// What is found of MLX, and on Linux of the BLAS behind it. Computes on the device.
pub(super) fn requirements() -> Vec<Requirement> {
    let libraries = loaded_libraries();
    let mut requirements = vec![Requirement { thing: "MLX", presence: mlx() }];
    requirements.extend(blas(&libraries).map(|presence| Requirement { thing: "BLAS", presence }));
    requirements
}

fn mlx() -> Presence {
    match device_and_speed() {
        Ok((device, gflops)) => {
            Presence::Found(format!("{} on the {device}, {gflops:.0} GFLOP/s in a {SIDE}x{SIDE} f32 product", mlx_version()))
        }
        Err(error) => Presence::Missing { reason: error.what().to_owned(), remedy: "run make mlx and build again".into() },
    }
}

/// The device's name and its speed in GFLOP/s.
fn device_and_speed() -> Result<(&'static str, f64), mlx_rs::error::Exception> {
    let device = match Device::try_default()?.get_type()? {
        DeviceType::Cpu => "CPU",
        DeviceType::Gpu => "GPU",
    };
    let a = random::uniform::<_, f32>(0.0, 1.0, &[SIDE, SIDE], None)?;
    a.eval()?;
    let seconds = (0..ROUNDS).map(|_| product(&a)).collect::<Result<Vec<_>, _>>()?;
    let best = seconds.into_iter().fold(f64::INFINITY, f64::min);
    Ok((device, 2.0 * f64::from(SIDE).powi(3) / best / 1e9))
}

/// The time that one product takes, in seconds.
fn product(a: &Array) -> Result<f64, mlx_rs::error::Exception> {
    let started = Instant::now();
    a.matmul(a)?.eval()?;
    Ok(started.elapsed().as_secs_f64())
}

/// The first library whose file name contains this text.
fn named<'a>(libraries: &'a [PathBuf], part: &str) -> Option<&'a Path> {
    let has = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    libraries.iter().find(has).map(PathBuf::as_path)
}

/// Which BLAS is loaded. `None` if there is no separate one: macOS has Accelerate.
fn blas(libraries: &[PathBuf]) -> Option<Presence> {
    if let Some(openblas) = named(libraries, "openblas") {
        // scripts/setup_mlx.py leaves the version beside the library.
        let version = openblas.parent().and_then(|folder| fs::read_to_string(folder.join("openblas")).ok());
        return Some(Presence::Found(version.unwrap_or("OpenBLAS".into()).trim().to_owned()));
    }
    let reference = named(libraries, "libblas")?;
    Some(Presence::Lacking {
        reason: format!("the slow reference BLAS ({})", reference.display()),
        remedy: "run make mlx: it puts OpenBLAS in its place, 15 to 26 times faster".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blas_is_told_by_the_libraries_names() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(blas(&paths(&["/lib/libc.so.6"])).is_none());
        let reference = blas(&paths(&["/lib/libc.so.6", "/w/libblas-bd8a282c.so.3.10.0"]));
        assert!(matches!(reference, Some(Presence::Lacking { .. })));
        let openblas = blas(&paths(&["/w/libblas-bd8a282c.so.3.10.0", "/w/libscipy_openblas.so"]));
        assert!(matches!(openblas, Some(Presence::Found(name)) if name == "OpenBLAS"));
    }
}
