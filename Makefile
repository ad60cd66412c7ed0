.PHONY: help mlx clients test lint bench-proxy
CLIENTS := target/clients
help:
	@echo "make mlx      prepare MLX for Linux (nothing to do on macOS)"
	@echo "make clients  install the clients that the tests drive: Python and TypeScript SDKs, Claude Code"
	@echo "make test     everything the tests need, then all tests"
	@echo "make lint     formatting and clippy, warnings denied"
	@echo "make bench-proxy  what the recorder adds to a connection, beside mitmdump where it is installed"
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
test: mlx clients
	cargo nextest run --locked
lint: mlx
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
bench-proxy:
	cargo build --locked --release --no-default-features --bin anyclaude --example bench_proxy
	@target/release/examples/bench_proxy
