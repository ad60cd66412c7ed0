#!/bin/sh
# Measures mlx-lm's server and ours side by side: same weights, same BLAS library, same requests, one server at a time.
# Prints a table. PEERS_ROUNDS repeats everything, in alternation; figures are medians.
set -eu
cd "$(dirname "$0")/../.."
peers=target/peers
. tests/oracle/environment.sh
measure() { # SHAPE FOLDER AIMS
    $python tests/peers/model.py "$oracle/qwen3/models" "$peers/$2" "$1"
    $python tests/peers/measure.py --model "$peers/$2" --trace traces/follow-up --ours target/release/anyclaude \
        --aims "$3" --rounds "${PEERS_ROUNDS:-1}"
}
measure small model cpu
measure hybrid hybrid hybrid
