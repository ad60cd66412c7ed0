#!/bin/sh
# Compares the engine with mlx-lm on small random models of every family: makes the models, asks both, prints a table.
set -eu
cd "$(dirname "$0")/../.."
oracle=target/oracle
python=$oracle/venv/bin/python
stamp=$oracle/venv/.done

if ! cmp -s tests/oracle/requirements.txt "$stamp"; then
    echo "oracle: installing mlx-lm into $oracle/venv"
    python3 -m venv --clear "$oracle/venv"
    $python -m pip install --quiet --disable-pip-version-check -r tests/oracle/requirements.txt
    # The BLAS that the engine runs on, where there is one of ours: the wheel's own takes minutes.
    for library in target/mlx/wheels/mlx-cpu/mlx_cpu.libs/*; do
        [ -e "$library" ] && cp "$library" "$oracle"/venv/lib/python3*/site-packages/mlx_cpu.libs/
    done
    cp tests/oracle/requirements.txt "$stamp"
fi
$python tests/oracle/make.py "$oracle/models"
cargo test --locked --test oracle -- --ignored --nocapture
