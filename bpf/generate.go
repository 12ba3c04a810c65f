package bpf

// clang and libbpf's headers (Debian: clang, libbpf-dev) are needed to generate only; two runs give the same bytes.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package bpf -cc clang -target bpfel,bpfeb -cflags "-O2 -g -Wall -Werror" reuseport reuseport.c -- -I/usr/include/x86_64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package bpf -cc clang -target bpfel,bpfeb -cflags "-O2 -g -Wall -Werror" offered offered.c -- -I/usr/include/x86_64-linux-gnu
