#!/bin/sh
# Replays traces on the engine, mlx-lm's server and llama.cpp's, all with the weights of the tiny model, and prints them side by
# side: short requests, or with more arguments than the anyclaude binary, which go to replay, the committed traces.
set -eu
cd "$(dirname "$0")/../.."
anyclaude=$1
shift
. tests/oracle/environment.sh
llamacpp=target/llamacpp
if ! cmp -s tests/peers/llamacpp.txt "$llamacpp/.done"; then
    echo "installing llama.cpp into $llamacpp"
    python3 -m venv --clear "$llamacpp"
    "$llamacpp/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/peers/llamacpp.txt
    cp tests/peers/llamacpp.txt "$llamacpp/.done"
fi
# llama.cpp has no name for the tiny model's way to cut a text into words. Llama 3's gives the same tokens.
"$llamacpp/bin/python" tests/peers/gguf_of.py fixtures/models/tiny "$llamacpp/tiny.gguf" llama-bpe
# mlx-lm computes as the weights are stored, and MLX is slow in bfloat16 on CPUs; the other two compute in f32.
rm -rf "$llamacpp/f32"
"$python" -m mlx_lm convert --hf-path fixtures/models/tiny --mlx-path "$llamacpp/f32" --dtype float32 > /dev/null
# No tool is forced: mlx-lm's server does not do that, and llama.cpp's aborts in its grammar (llama-grammar.cpp) with this model.
compare() {
    "$python" tests/peers/compare.py --anyclaude "$anyclaude" --model "$llamacpp/f32" --gguf "$llamacpp/tiny.gguf" \
        --llamacpp "$llamacpp/bin/python" -- --tool-choice auto "$@"
}
if [ $# -gt 0 ]; then
    compare traces --snapshots snapshots "$@"
else
    "$python" tests/peers/short.py "$llamacpp/traces"
    "$anyclaude" replay "$llamacpp/traces" --snapshots "$llamacpp/snapshots" --tool-choice auto --phases cold --update > /dev/null
    compare "$llamacpp/traces" --snapshots "$llamacpp/snapshots"
fi
