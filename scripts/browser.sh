#!/usr/bin/env bash
# Installs Chromium, in which tests look at the page of a replay, where the machine has none.
set -euo pipefail
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" > /dev/null; then exit 0; fi
done
if [ "$(uname)" = Darwin ]; then
    echo "browser: install Chromium or Google Chrome into /Applications"
    exit 0
fi
as_root=""
if [ "$(id -u)" != 0 ]; then as_root="sudo"; fi
if ! command -v apt-get > /dev/null || ! command -v ${as_root:-env} > /dev/null; then
    echo "browser: install Chromium with this system's package manager: without it the page of a replay is not tested" >&2
    exit 1
fi
echo "browser: installing Chromium"
$as_root apt-get update --quiet=2 -o Acquire::Retries=5
DEBIAN_FRONTEND=noninteractive $as_root apt-get install --quiet=2 --yes -o Acquire::Retries=5 --no-install-recommends chromium > /dev/null
