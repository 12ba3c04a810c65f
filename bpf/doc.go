// Package bpf has the programs that run in the Linux kernel and what loads them.
//
// The C sources are compiled by bpf2go; what it generates is committed, so that neither clang nor kernel headers are needed to
// build. Each loader says why it could not load ([Why]), so that its caller can do without and tell the user.
package bpf
