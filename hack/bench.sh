#!/usr/bin/env bash
# Runs the benchmarks of all packages, then the load test of the controller, and prints their results as one table. The
# load test writes lines in the format of Go's benchmarks; what else is written goes through as it comes.
set -euo pipefail
cd "$(dirname "$0")/.."

results=$(mktemp)
trap 'rm -f "$results"' EXIT
failed=()

# measure NAME COMMAND...: runs a command and keeps the results among its output.
measure() {
	local name=$1
	shift
	echo "measuring $name" >&2
	"$@" | awk -v name="$name" -v results="$results" '
		/^Benchmark/ && NF > 2 { print name "\t" $0 >>results; next }
		/^(Benchmark|goos:|goarch:|pkg:|cpu:|PASS|ok )/ { next }
		{ print }' || failed+=("$name")
}

# One package at a time: they would measure each other.
while read -r dir pkg; do
	if grep -qs '^func Benchmark' "$dir"/*_test.go; then
		measure "${pkg##*/}" go test -run='^$' -bench=. -benchmem -timeout=30m "$pkg"
	fi
done < <(go list -f '{{.Dir}} {{.ImportPath}}' ./...)
if [ -d test/bench ]; then
	measure controller go run ./test/bench
fi

echo
awk -F'\t' '
	{
		name = $2
		sub(/^Benchmark/, "", name); gsub(/ +$/, "", name); sub(/-[0-9]+$/, "", name)
		pkg[NR] = $1; bench[NR] = name
		# Time, memory, and then what a benchmark measures besides.
		first = ""; rest = ""
		for (i = 4; i <= NF; i++) {
			gsub(/^ +| +$/, "", $i)
			if ($i ~ / (ns|B|allocs)\/op$/) first = first sprintf("  %17s", $i)
			else rest = rest sprintf("  %22s", $i)
		}
		metrics[NR] = first rest
		if (length(name) > width) width = length(name)
		if (length($1) > pwidth) pwidth = length($1)
	}
	END { for (i = 1; i <= NR; i++) printf "%-" pwidth "s  %-" width "s%s\n", pkg[i], bench[i], metrics[i] }
' "$results"

if [ ${#failed[@]} -gt 0 ]; then
	echo "failed: ${failed[*]}" >&2
	exit 1
fi
