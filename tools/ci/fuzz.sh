#!/usr/bin/env bash
# Runs every fuzz test of the tree: fuzz.sh TIME. What reads packets and files of strangers gets TIME each, the rest a tenth of it, and
# 5 s at least. A finding is left in testdata/fuzz of its package.
set -euo pipefail
time=${1:-10s}
case $time in
  *m) seconds=$((${time%m} * 60)) ;;
  *s) seconds=${time%s} ;;
  *) echo "fuzz.sh: write the time as 60s or 10m, not $time" >&2; exit 2 ;;
esac
short=$((seconds / 10 > 5 ? seconds / 10 : 5))
decoders='^(./formats/(netflow|sflow) FuzzDecode|./formats/packet FuzzDissect|./formats/pcap FuzzReader|./processors/decode FuzzProcess)$'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/func //' | while read -r target; do
    dir=$(dirname "$file")
    long=$short
    if [[ "$dir $target" =~ $decoders ]]; then long=$seconds; fi
    echo "fuzz $dir $target for $long s"
    ${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "${long}s" -fuzzminimizetime 1x "$dir" >"$log" 2>&1 </dev/null || {
      tail -n 60 "$log"
      exit 1
    }
  done
done
