#!/usr/bin/env bash
# Runs every fuzz test of the tree: fuzz.sh TIME. What reads packets and files of strangers gets TIME each, the rest a tenth of it, and
# 5 s at least. A finding is left in testdata/fuzz of its package. The self-test: fuzz.sh selftest.
set -euo pipefail

# Until Go 1.27, a run whose time ends while a worker is busy may fail with the deadline of the coordinator (golang/go#75804). Then it
# names no input, and nothing but that deadline stands under its FAIL.
ended_by_time() {
  ! grep -qE 'Failing input written|panic|DATA RACE|fuzzing process hung' "$1" &&
    [[ $(sed -n '/^--- FAIL: Fuzz/,/^FAIL$/p' "$1" | sed '1d;$d' | tr -d ' \n') == contextdeadlineexceeded ]]
}

if [[ ${1:-} == selftest ]]; then
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  verdict() { if ended_by_time "$log"; then echo time; else echo finding; fi; }
  fail() { printf 'fuzz: elapsed: 7s, execs: 5682 (0/sec)\n--- FAIL: FuzzStream (6.84s)\n%sFAIL\nexit status 1\n' "$1" >"$log"; verdict; }
  test "$(fail $'    context deadline exceeded\n')" = time
  test "$(fail $'    --- FAIL: FuzzStream (0.00s)\n        stream_test.go:80: context deadline exceeded\n    \n    Failing input written to testdata/fuzz/FuzzStream/1\n')" = finding
  test "$(fail $'    context deadline exceeded\n    stream_test.go:80: lost a record\n')" = finding
  test "$(fail '')" = finding
  printf 'panic: runtime error\n--- FAIL: FuzzStream (1s)\n    context deadline exceeded\nFAIL\n' >"$log"
  test "$(verdict)" = finding
  printf './stream_test.go:1:1: does not compile\n' >"$log"
  test "$(verdict)" = finding
  exit 0
fi

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
      if ended_by_time "$log"; then
        echo "fuzz $dir $target: no finding, ended by its time while a worker was busy"
        continue
      fi
      tail -n 60 "$log"
      exit 1
    }
  done
done
