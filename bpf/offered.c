//go:build ignore
/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * How many datagrams the kernel offers a socket. As a socket filter it runs before the receive buffer is looked at
 * (udp_queue_rcv_one_skb: sk_filter_trim_cap, then __udp_enqueue_schedule_skb), so what is dropped there has been counted. Needs
 * kernel 5.7 (gso_size) and CAP_BPF.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define UDP_HEADER 8
#define MOST_JOINED 128 /* what the kernel joins at most; more is no train to the reader either */

/* Mapped by user space. */
struct offer {
	__u64 messages; /* buffers: datagrams, or trains of them */
	__u64 more;	/* datagrams that trains have beyond their first */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct offer);
} offers SEC(".maps");

/* A train is cut by gso_size, as the reader does: gso_segs is 0 for what a virtual machine's host joined. Messages come first, so that a
 * message which has been taken or dropped has been counted in both. */
SEC("socket")
int count_offered(struct __sk_buff *skb)
{
	__u32 zero = 0, each = skb->gso_size;
	struct offer *o = bpf_map_lookup_elem(&offers, &zero);

	if (!o)
		return -1;
	__sync_fetch_and_add(&o->messages, 1);
	if (each && skb->len > UDP_HEADER) {
		__u32 more = (skb->len - UDP_HEADER - 1) / each;

		if (more && more < MOST_JOINED)
			__sync_fetch_and_add(&o->more, more);
	}
	return -1; /* all of it, whatever its length */
}

char _license[] SEC("license") = "Dual BSD/GPL";
