.PHONY: help mlx test lint
help:
	@echo "make mlx    prepare MLX for Linux (nothing to do on macOS)"
	@echo "make test   everything the tests need, then all tests"
	@echo "make lint   formatting and clippy, warnings denied"
mlx:
	@python3 scripts/setup_mlx.py
test: mlx
	cargo nextest run --locked
lint: mlx
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
