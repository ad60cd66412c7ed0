#!/bin/sh
# Everything that a bare machine with an NVIDIA card can tell about the GPU path, in one go:
# what the machine is, the engine against mlx-lm on small models of every family, the committed traces, then both servers side by
# side on the same MLX and card, with a small model and with one of Qwen3-30B-A3B's shape (random weights of 4 bits, 17 GB).
#
# Usage: scripts/gpu_check.sh [FOLDER]      results go to FOLDER, target/gpu-check if none is named
#
# Needs a driver for CUDA 13, Rust, a C++ compiler, Python 3 with venv, Node's npm, and some 60 GB of disk.
# ANYCLAUDE_MLX=cpu tries the way itself on a machine without a card: MLX's CPU operations, and a cut of the large model.
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/gpu-check}
mkdir -p "$out"
export ANYCLAUDE_MLX="${ANYCLAUDE_MLX:-cuda}"
case $ANYCLAUDE_MLX in
cuda)
    shape=30b-a3b
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/card.csv" || {
        echo "gpu_check: no NVIDIA card, or no driver; ANYCLAUDE_MLX=cpu tries the way without one" >&2
        exit 3
    } ;;
cpu) shape=30b-a3b-cut ;;
*) echo "gpu_check: ANYCLAUDE_MLX=$ANYCLAUDE_MLX: it is one of cuda, cpu" >&2 && exit 2 ;;
esac

step() { echo; echo "gpu_check: $*"; }
failed=
# Goes on after a failure: what comes later is worth knowing too.
try() {
    name=$1
    shift
    if "$@" > "$out/$name.txt" 2>&1; then echo "gpu_check: $name: passed"; else failed="$failed $name"; echo "gpu_check: $name: FAILED, see $out/$name.txt"; fi
}

step "building"
make --no-print-directory mlx
cargo build --locked --release --bin anyclaude
ours=target/release/anyclaude
. tests/oracle/environment.sh

step "the machine"
try doctor $ours doctor
cat "$out/doctor.txt"

step "the engine against mlx-lm, then the committed traces"
ignored_test() { cargo test --locked --release --test it -- --ignored --nocapture "$1"; }
$python tests/oracle/make.py target/oracle/models
try oracle ignored_test oracle::logits::logits_and_greedy_answers_on_the_gpu_path_are_those_of_mlx_lm
try traces ignored_test compute_paths::all_committed_traces_are_as_accepted_on_the_gpu_path

step "side by side with mlx-lm"
for model in small $shape; do
    $python tests/peers/model.py "$oracle/qwen3/models" "target/peers/$model" "$model"
    try "peers-$model" $python tests/peers/measure.py --model "target/peers/$model" --trace traces/follow-up --ours $ours --path gpu \
        --aims gpu --json "$out/peers-$model.json"
    cat "$out/peers-$model.txt"
done

step "results are in $out"
[ -z "$failed" ] || { echo "gpu_check: failed:$failed" >&2 && exit 1; }
