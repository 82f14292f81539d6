#!/usr/bin/env bash
# Runs each fuzz test of the module for the given time (default 5s).
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-5s}
targets=$(go list -f '{{$dir := .Dir}}{{$path := .ImportPath}}{{range .TestGoFiles}}{{$path}} {{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$path}} {{$dir}}/{{.}}{{"\n"}}{{end}}' ./... |
	while read -r pkg file; do
		[ -z "$pkg" ] || sed -nE "s#^func (Fuzz[A-Za-z0-9_]*)\(.*#$pkg \1#p" "$file"
	done)
[ -n "$targets" ] || { echo "no fuzz tests found" >&2; exit 1; }

while read -r pkg name; do
	echo "fuzzing $pkg $name for $time"
	go test -run='^$' -fuzz="^$name\$" -fuzztime="$time" -fuzzminimizetime=10x "$pkg" </dev/null
done <<<"$targets"
