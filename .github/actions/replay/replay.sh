#!/usr/bin/env bash
# What the action runs, with its inputs in the environment: TRACES, SNAPSHOTS, MODEL, BACKEND, ARGUMENTS.
set -euo pipefail
anyclaude trace validate "$TRACES"
if [ -n "${BACKEND:-}" ]; then asked=(--backend "$BACKEND"); else asked=(--model "${MODEL:-tiny}"); fi
# Unquoted: several arguments are several words.
# shellcheck disable=SC2086
exec anyclaude replay "$TRACES" --snapshots "${SNAPSHOTS:-$TRACES/snapshots}" --check "${asked[@]}" \
  --junit replay.xml --html replay.html --json replay.json ${ARGUMENTS:-}
