#!/usr/bin/env bash
# Installs what the whole test run needs and a fresh Debian 12 lacks: real peers to compare with, and the compiler of the
# eBPF programs. Weir itself needs none of it. Run as root; it may be run again.
set -euo pipefail

packages=(
  tshark nfdump nfdump-sflow softflowd pmacct tcpdump # oracles, exporters, and what bench-collector compares with
  clang llvm libbpf-dev linux-libc-dev                # eBPF: `make generate`
  iproute2 make
)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
if ((${#missing[@]})); then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Readers of our Parquet files.
python3 -c 'import pyarrow, duckdb' 2>/dev/null || python3 -m pip install -q pyarrow duckdb ||
  python3 -m pip install -q --break-system-packages pyarrow duckdb
