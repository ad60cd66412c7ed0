"""Checks that no dependency in Cargo.lock asks for a later Rust than Cargo.toml promises. Clippy checks our own code."""

import json
import subprocess
import sys


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in (text + ".0.0").split(".")[:3])


metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--locked", "--format-version", "1"]))
own = next(package for package in metadata["packages"] if package["name"] == "anyclaude")["rust_version"]
later = [
    f"{package['name']} {package['version']} needs Rust {package['rust_version']}"
    for package in metadata["packages"]
    if version(package["rust_version"] or "1.0") > version(own)
]
print("\n".join(later) or f"no dependency needs more than Rust {own}")
sys.exit(bool(later))
