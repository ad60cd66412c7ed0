#!/bin/sh
# Compares the engine with mlx-lm on small random models of every family: makes the models, asks both, prints a table.
# Compares prompts with transformers', with real tokenizers and templates, and checks calls of a leaderboard's functions.
# Usage: run.sh [cargo-nextest]
set -eu
cd "$(dirname "$0")/../.."
. tests/oracle/environment.sh
for name in qwen2_5 llama3_2 mistral_nemo deepseek_v3; do fetch_tokenizer $name; done
$python tests/oracle/make.py "$oracle/models"
$python tests/oracle/probes.py fixtures/jinja2/probes.json --check
[ -e "$oracle"/bfcl_eval-2026.3.23-*.whl ] ||
    $python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$oracle" bfcl-eval==2026.3.23
$python tests/oracle/functions.py "$oracle"/bfcl_eval-2026.3.23-*.whl "$oracle/functions.json"
"${1:-cargo-nextest}" nextest run --locked --test it --run-ignored only --success-output immediate oracle:: compute_paths::
