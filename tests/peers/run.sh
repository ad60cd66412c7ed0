#!/bin/sh
# Measures mlx-lm's server and ours side by side: same weights, same BLAS library, same requests, one server at a time.
# Prints a table. PEERS_ROUNDS repeats everything, in alternation; figures are medians.
set -eu
cd "$(dirname "$0")/../.."
peers=target/peers
. tests/oracle/environment.sh
$python tests/peers/model.py "$oracle/qwen3/models" "$peers/model"
$python tests/peers/measure.py --model "$peers/model" --trace traces/follow-up --ours target/release/anyclaude \
    --rounds "${PEERS_ROUNDS:-1}"
