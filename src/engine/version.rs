//! The MLX library that this process uses.

use std::fs;
use std::path::{Path, PathBuf};

/// MLX's version. mlx-rs has no function for it, so it is read from the header beside the library.
pub fn mlx_version() -> String {
    let libraries = loaded_libraries();
    let is_mlx = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("libmlx"));
    let Some(library) = libraries.iter().find(is_mlx) else { return "as bundled with mlx-rs".into() };
    let header = library.parent().and_then(Path::parent).map(|root| root.join("include/mlx/version.h"));
    let header = header.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let parts = ["MAJOR", "MINOR", "PATCH"].map(|part| defined(&header, &format!("MLX_VERSION_{part}")));
    match parts {
        [Some(major), Some(minor), Some(patch)] => format!("{major}.{minor}.{patch}"),
        _ => format!("of unknown version ({})", library.display()),
    }
}

/// Files mapped into this process, shared libraries among them; empty on systems without `/proc` (on macOS, MLX is part of the
/// binary).
pub fn loaded_libraries() -> Vec<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut paths: Vec<_> = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))).collect();
    paths.dedup();
    paths
}

/// The value of `#define <name> <value>`.
fn defined<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_header() {
        let header = "#define MLX_VERSION_MAJOR 0\n#define MLX_VERSION_MINOR 32\n#define MLX_VERSION_NUMERIC \\\n";
        assert_eq!((defined(header, "MLX_VERSION_MINOR"), defined(header, "MLX_VERSION_PATCH")), (Some("32"), None));
    }
}
