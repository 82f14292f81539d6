#!/usr/bin/env bash
# Generates everything anew in a copy of the work tree and fails, naming the files, if the copy then differs.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# Tracked files and new ones, as they are now; what is ignored is neither copied nor compared.
git ls-files -z --cached --others --exclude-standard |
	while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
	tar --null --files-from=- --create --file=- | tar --extract --file=- --directory="$copy"
cp -R "$copy" "$copy.before"
trap 'rm -rf "$copy" "$copy.before"' EXIT

(cd "$copy" && go generate ./...)

if ! changed=$(diff --recursive --brief --new-file "$copy.before" "$copy"); then
	echo "generated files are stale:" >&2
	sed -E "s#^Files $copy\.before/(.*) and .* differ\$#  \1#" <<<"$changed" >&2
	echo "run make generate" >&2
	exit 1
fi
