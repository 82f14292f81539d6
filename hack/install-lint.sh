#!/usr/bin/env bash
# Installs the pinned golangci-lint into bin/, once. It is not in tools/go.mod because its requirements contradict those
# of the code generators.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.15.0
bin=$PWD/bin

if "$bin/golangci-lint" version 2>/dev/null | grep -qF " version $version "; then
	exit 0
fi
echo "installing golangci-lint $version into bin/ (about two minutes, once)"
GOBIN=$bin GOFLAGS='' go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$version"
