#!/usr/bin/env bash
# Runs every fuzz test of the tree for a while: fuzz.sh TIME. A finding is left in testdata/fuzz of its package.
set -euo pipefail
time=${1:-10s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/func //' | while read -r target; do
    echo "fuzz $(dirname "$file") $target for $time"
    ${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$(dirname "$file")" >"$log" 2>&1 </dev/null || {
      tail -n 60 "$log"
      exit 1
    }
  done
done
