//! What MLX this binary runs on: version, device, BLAS, and how fast it multiplies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mlx_rs::{Array, Device, DeviceType, random};

use super::{Finding, State};

/// Side of the square matrices that are multiplied.
const SIDE: i32 = 1024;
/// The best of this many rounds counts: the first ones wake the threads.
const ROUNDS: usize = 4;

/// MLX, and on Linux the BLAS behind it.
pub fn findings() -> Vec<Finding> {
    let libraries = loaded_libraries();
    let mut findings = vec![Finding { what: "MLX", state: mlx(&libraries) }];
    findings.extend(blas(&libraries).map(|state| Finding { what: "BLAS", state }));
    findings
}

fn mlx(libraries: &[PathBuf]) -> State {
    match device_and_speed() {
        Ok((device, gflops)) => {
            State::Found(format!("{} on the {device}, {gflops:.0} GFLOP/s in a {SIDE}x{SIDE} f32 product", version(libraries)))
        }
        Err(error) => State::Missing { what: error.what().to_owned(), remedy: "run make mlx and build again".into() },
    }
}

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

/// Seconds that one product takes.
fn product(a: &Array) -> Result<f64, mlx_rs::error::Exception> {
    let started = Instant::now();
    a.matmul(a)?.eval()?;
    Ok(started.elapsed().as_secs_f64())
}

/// The libraries in this process; empty where the system does not tell (macOS, where MLX is part of the binary).
fn loaded_libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut paths: Vec<_> = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))).collect();
    paths.dedup();
    paths
}

fn named<'a>(libraries: &'a [PathBuf], part: &str) -> Option<&'a Path> {
    let has = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part));
    libraries.iter().find(has).map(PathBuf::as_path)
}

/// What the header beside the library says: mlx-rs offers no way to ask.
fn version(libraries: &[PathBuf]) -> String {
    let Some(library) = named(libraries, "libmlx") else { return "as bundled with mlx-rs".into() };
    let header = library.parent().and_then(Path::parent).map(|root| root.join("include/mlx/version.h"));
    let header = header.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let parts = ["MAJOR", "MINOR", "PATCH"].map(|part| defined(&header, &format!("MLX_VERSION_{part}")));
    match parts {
        [Some(major), Some(minor), Some(patch)] => format!("{major}.{minor}.{patch}"),
        _ => format!("of unknown version ({})", library.display()),
    }
}

fn defined<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
}

/// Which BLAS is loaded; nothing to say where there is none of its own (macOS has Accelerate).
fn blas(libraries: &[PathBuf]) -> Option<State> {
    if let Some(openblas) = named(libraries, "openblas") {
        // scripts/setup_mlx.py leaves the version beside the library.
        let version = openblas.parent().and_then(|folder| fs::read_to_string(folder.join("openblas")).ok());
        return Some(State::Found(version.unwrap_or("OpenBLAS".into()).trim().to_owned()));
    }
    let reference = named(libraries, "libblas")?;
    Some(State::Lacking {
        what: format!("the slow reference BLAS ({})", reference.display()),
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
        assert!(matches!(reference, Some(State::Lacking { .. })));
        let openblas = blas(&paths(&["/w/libblas-bd8a282c.so.3.10.0", "/w/libscipy_openblas.so"]));
        assert!(matches!(openblas, Some(State::Found(name)) if name == "OpenBLAS"));
    }

    #[test]
    fn the_version_is_read_from_the_header() {
        let header = "#define MLX_VERSION_MAJOR 0\n#define MLX_VERSION_MINOR 32\n#define MLX_VERSION_NUMERIC \\\n";
        assert_eq!((defined(header, "MLX_VERSION_MINOR"), defined(header, "MLX_VERSION_PATCH")), (Some("32"), None));
    }
}
