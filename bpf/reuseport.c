//go:build ignore
/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Which socket of a SO_REUSEPORT group gets a datagram. Needs kernel 4.19 and CAP_BPF (before 5.8: CAP_SYS_ADMIN); the
 * mapped array 5.5. No signed division, and no atomic add within a loop: clang 14 and the verifier under CAP_BPF alone do not
 * take those.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define MAX_SOCKETS 64
#define PROBES 8

struct config {
	__u32 sockets; /* slots 0..sockets-1 are filled */
	__u32 limit;   /* balance_packet: bytes waiting at a socket before it is skipped */
};

/* What a receive buffer is charged for a datagram, or a train of them, beside its bytes, about. Trains are why bytes are counted: one
 * may have 128 datagrams. */
#define OVERHEAD 900

/* One for each socket; two cache lines, each written by one side. Mapped by user space. */
struct depth {
	__u64 given; /* bytes sent to the socket, counted here */
	__u64 pad1[7];
	__u64 taken; /* bytes read from it, counted by its reader */
	__u64 pad2[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} turn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_SOCKETS);
	__type(key, __u32);
	__type(value, struct depth);
} depths SEC(".maps");

static __always_inline __u32 mix(__u32 h)
{
	h ^= h >> 16;
	h *= 0x7feb352d;
	h ^= h >> 15;
	h *= 0x846ca68b;
	h ^= h >> 16;
	return h;
}

static __always_inline __u32 source(struct sk_reuseport_md *ctx)
{
	__u32 a[4] = {};

	if (ctx->eth_protocol == bpf_htons(0x0800)) {
		bpf_skb_load_bytes_relative(ctx, 12, a, 4, BPF_HDR_START_NET);
		return mix(a[0]);
	}
	bpf_skb_load_bytes_relative(ctx, 8, a, 16, BPF_HDR_START_NET);
	return mix(a[0] ^ mix(a[1] ^ mix(a[2] ^ mix(a[3]))));
}

/* An empty slot selects nothing, and SK_PASS then leaves the choice to the kernel's hash: no datagram is lost. */
static __always_inline int give(struct sk_reuseport_md *ctx, __u32 slot)
{
	bpf_sk_select_reuseport(ctx, &sockets, &slot, 0);
	return SK_PASS;
}

/* In turn, for each CPU, skipping sockets whose readers have fallen behind. */
SEC("sk_reuseport")
int balance_packet(struct sk_reuseport_md *ctx)
{
	__u32 zero = 0, i, slot = ~0u;
	struct config *c = bpf_map_lookup_elem(&settings, &zero);
	__u64 *t = bpf_map_lookup_elem(&turn, &zero);
	struct depth *d;

	if (!c || !t || !c->sockets)
		return SK_PASS;
	__u32 n = c->sockets, first = (__u32)((*t)++) % n;
	__s64 limit = c->limit;

	for (i = 0; i < PROBES; i++) {
		__u32 s = (first + i) % n;

		d = bpf_map_lookup_elem(&depths, &s);
		if (!d)
			break;
		if ((__s64)(d->given - d->taken) < limit) {
			slot = s;
			break;
		}
		if (i + 1 >= n)
			break;
	}
	if (slot == ~0u)
		slot = first; /* all are behind */
	d = bpf_map_lookup_elem(&depths, &slot);
	if (d)
		__sync_fetch_and_add(&d->given, ctx->len + OVERHEAD);
	return give(ctx, slot);
}

/* All of one source address to one socket. */
SEC("sk_reuseport")
int balance_source(struct sk_reuseport_md *ctx)
{
	__u32 zero = 0;
	struct config *c = bpf_map_lookup_elem(&settings, &zero);

	if (!c || !c->sockets)
		return SK_PASS;
	return give(ctx, source(ctx) % c->sockets);
}

/* All of one observation domain of one source address to one socket: templates stay in front of their data, and the line
 * cards of one router spread. NetFlow v9 calls it source id (RFC 3954, 5.1), IPFIX observation domain (RFC 7011, 3.1), v5
 * engine. What is none of these goes by its source address. */
SEC("sk_reuseport")
int balance_domain(struct sk_reuseport_md *ctx)
{
	__u32 zero = 0, domain = 0;
	__u16 version = 0;
	struct config *c = bpf_map_lookup_elem(&settings, &zero);

	if (!c || !c->sockets)
		return SK_PASS;
	/* the UDP header comes first: 8 bytes */
	if (!bpf_skb_load_bytes(ctx, 8, &version, 2)) {
		if (version == bpf_htons(9))
			bpf_skb_load_bytes(ctx, 8 + 16, &domain, 4);
		else if (version == bpf_htons(10))
			bpf_skb_load_bytes(ctx, 8 + 12, &domain, 4);
		else if (version == bpf_htons(5))
			bpf_skb_load_bytes(ctx, 8 + 20, &domain, 2);
	}
	return give(ctx, mix(source(ctx) ^ mix(domain)) % c->sockets);
}

char _license[] SEC("license") = "Dual BSD/GPL";
