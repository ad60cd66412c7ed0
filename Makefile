.PHONY: help test lint
help:
	@echo "make test   run all tests"
	@echo "make lint   formatting and clippy, warnings denied"
test:
	cargo test --locked
lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
