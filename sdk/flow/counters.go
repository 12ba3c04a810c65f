package flow

import "github.com/weirflow/weir/sdk"

func field(name string, t sdk.Type, unit, doc string) sdk.Field {
	return sdk.Field{Name: name, Type: t, Unit: unit, Doc: doc}
}

func named(f sdk.Field) sdk.Field { f.Extra = true; return f }

// Counters is the columns of counters samples (sFlow version 5): a row is one sample, of one interface or host. Names are those of
// the MIB objects and of sFlow's structures, in snake_case. What the sample's structures do not hold is the column's zero;
// structures says which there were. Counters have the width they have on the wire, and wrap; what an agent does not know is all
// ones there, and here.
var Counters = []sdk.Field{
	field("received", sdk.Timestamp, "ns", "when the datagram arrived at Weir"),
	field("exported", sdk.Timestamp, "ns", "the same: sFlow tells no wall-clock time"),
	field("exporter_addr", sdk.Addr, "", "address of the sFlow agent; of the datagram's source where the agent does not know its own"),
	named(field("exporter_port", sdk.Uint16, "", "source port of the datagram")),
	field("sub_agent", sdk.Uint32, "", "sub-agent of the agent; observation_domain of its flows"),
	field("uptime", sdk.Uint32, "ms", "since the agent has started"),
	named(field("sequence", sdk.Uint32, "", "sequence number of the datagram")),
	field("sample_sequence", sdk.Uint32, "", "sequence number of the data source's counters samples; begins anew when the counters do"),
	field("source_id_class", sdk.Uint32, "", "what the data source is: 0 interface (ifIndex), 1 VLAN (smonVlanDataSource), 2 physical entity (entPhysicalIndex)"),
	field("source_id_index", sdk.Uint32, "", "index of the data source within its class"),
	field("structures", sdk.Name, "", "structures of the sample that were decoded, by their names in sFlow's documents"),

	// if_counters: the ifTable and ifXTable of RFC 2863.
	field("if_index", sdk.Uint32, "", "index of the interface"),
	field("if_type", sdk.Uint32, "", "kind of the interface (IANAifType): 6 Ethernet"),
	field("if_speed", sdk.Uint64, "bit/s", "speed"),
	field("if_direction", sdk.Uint32, "", "0 unknown, 1 full duplex, 2 half duplex, 3 in, 4 out"),
	field("if_admin_status", sdk.Uint8, "", "1 up, 2 down"),
	field("if_oper_status", sdk.Uint8, "", "1 up, 2 down"),
	field("if_in_octets", sdk.Uint64, "bytes", "received"),
	field("if_in_ucast_pkts", sdk.Uint32, "packets", "received, to one address"),
	field("if_in_multicast_pkts", sdk.Uint32, "packets", "received, to a group"),
	field("if_in_broadcast_pkts", sdk.Uint32, "packets", "received, to all"),
	field("if_in_discards", sdk.Uint32, "packets", "received and discarded without an error in them"),
	field("if_in_errors", sdk.Uint32, "packets", "received with errors"),
	field("if_in_unknown_protos", sdk.Uint32, "packets", "received for a protocol that is not spoken"),
	field("if_out_octets", sdk.Uint64, "bytes", "sent"),
	field("if_out_ucast_pkts", sdk.Uint32, "packets", "sent, to one address"),
	field("if_out_multicast_pkts", sdk.Uint32, "packets", "sent, to a group"),
	field("if_out_broadcast_pkts", sdk.Uint32, "packets", "sent, to all"),
	field("if_out_discards", sdk.Uint32, "packets", "not sent, without an error in them"),
	field("if_out_errors", sdk.Uint32, "packets", "not sent because of errors"),
	field("if_promiscuous_mode", sdk.Uint32, "", "1 true, 2 false"),
	field("if_name", sdk.Name, "", "name of the port (port_name)"),

	// ethernet_counters: the EtherLike MIB of RFC 3635.
	field("dot3_stats_alignment_errors", sdk.Uint32, "frames", "not of whole bytes"),
	field("dot3_stats_fcs_errors", sdk.Uint32, "frames", "with a wrong check sequence"),
	field("dot3_stats_single_collision_frames", sdk.Uint32, "frames", "sent after one collision"),
	field("dot3_stats_multiple_collision_frames", sdk.Uint32, "frames", "sent after several collisions"),
	field("dot3_stats_sqe_test_errors", sdk.Uint32, "", "errors of the signal quality test"),
	field("dot3_stats_deferred_transmissions", sdk.Uint32, "frames", "delayed because the medium was busy"),
	field("dot3_stats_late_collisions", sdk.Uint32, "", "collisions later than one slot time into a frame"),
	field("dot3_stats_excessive_collisions", sdk.Uint32, "frames", "not sent because of too many collisions"),
	field("dot3_stats_internal_mac_transmit_errors", sdk.Uint32, "frames", "not sent because of an error of the device"),
	field("dot3_stats_carrier_sense_errors", sdk.Uint32, "", "times that the carrier was lost"),
	field("dot3_stats_frame_too_longs", sdk.Uint32, "frames", "longer than is allowed"),
	field("dot3_stats_internal_mac_receive_errors", sdk.Uint32, "frames", "not received because of an error of the device"),
	field("dot3_stats_symbol_errors", sdk.Uint32, "", "invalid symbols"),

	// vlan_counters.
	field("vlan_id", sdk.Uint32, "", "VLAN that the counters are of"),
	field("vlan_octets", sdk.Uint64, "bytes", "of the VLAN"),
	field("vlan_ucast_pkts", sdk.Uint32, "packets", "of the VLAN, to one address"),
	field("vlan_multicast_pkts", sdk.Uint32, "packets", "of the VLAN, to a group"),
	field("vlan_broadcast_pkts", sdk.Uint32, "packets", "of the VLAN, to all"),
	field("vlan_discards", sdk.Uint32, "packets", "of the VLAN, discarded"),

	// processor.
	field("cpu_5s", sdk.Uint32, "0.01 %", "load of the device's processor over 5 seconds"),
	field("cpu_1m", sdk.Uint32, "0.01 %", "load over a minute"),
	field("cpu_5m", sdk.Uint32, "0.01 %", "load over 5 minutes"),
	field("total_memory", sdk.Uint64, "bytes", "of the device"),
	field("free_memory", sdk.Uint64, "bytes", "of the device"),

	// host_descr.
	field("hostname", sdk.Name, "", "name of the host"),
	field("uuid", sdk.Name, "", "UUID of the host"),
	field("machine_type", sdk.Name, "", "kind of its processor: x86_64, arm, ..."),
	field("os_name", sdk.Name, "", "its operating system: linux, windows, ..."),
	field("os_release", sdk.Name, "", "release of that"),

	// host_cpu.
	field("load_one", sdk.Float64, "", "load average over a minute; -1: not known"),
	field("load_five", sdk.Float64, "", "load average over 5 minutes"),
	field("load_fifteen", sdk.Float64, "", "load average over 15 minutes"),
	field("proc_run", sdk.Uint32, "", "processes that run"),
	field("proc_total", sdk.Uint32, "", "processes"),
	field("cpu_num", sdk.Uint32, "", "processors"),
	field("cpu_speed", sdk.Uint32, "MHz", "of a processor"),
	field("host_uptime", sdk.Uint32, "s", "since the host has started"),
	field("cpu_user", sdk.Uint32, "ms", "of processor time in user space"),
	field("cpu_nice", sdk.Uint32, "ms", "in user space at a low priority"),
	field("cpu_system", sdk.Uint32, "ms", "in the kernel"),
	field("cpu_idle", sdk.Uint32, "ms", "idle"),
	field("cpu_wio", sdk.Uint32, "ms", "idle, waiting for disks"),
	field("cpu_intr", sdk.Uint32, "ms", "in interrupts"),
	field("cpu_sintr", sdk.Uint32, "ms", "in soft interrupts"),
	field("interrupts", sdk.Uint32, "", "interrupts"),
	field("contexts", sdk.Uint32, "", "context switches"),
	field("cpu_steal", sdk.Uint32, "ms", "taken by the hypervisor"),
	field("cpu_guest", sdk.Uint32, "ms", "in guests"),
	field("cpu_guest_nice", sdk.Uint32, "ms", "in guests at a low priority"),

	// host_memory.
	field("mem_total", sdk.Uint64, "bytes", "of the host"),
	field("mem_free", sdk.Uint64, "bytes", "of the host"),
	field("mem_shared", sdk.Uint64, "bytes", "of the host"),
	field("mem_buffers", sdk.Uint64, "bytes", "of the host"),
	field("mem_cached", sdk.Uint64, "bytes", "of the host"),
	field("swap_total", sdk.Uint64, "bytes", "of the host"),
	field("swap_free", sdk.Uint64, "bytes", "of the host"),
	field("page_in", sdk.Uint32, "", "pages read"),
	field("page_out", sdk.Uint32, "", "pages written"),
	field("swap_in", sdk.Uint32, "", "pages read from swap space"),
	field("swap_out", sdk.Uint32, "", "pages written to swap space"),

	// host_disk_io.
	field("disk_total", sdk.Uint64, "bytes", "of the host's disks"),
	field("disk_free", sdk.Uint64, "bytes", "of the host's disks"),
	field("part_max_used", sdk.Uint32, "0.01 %", "use of the fullest partition"),
	field("disk_reads", sdk.Uint32, "", "reads"),
	field("disk_bytes_read", sdk.Uint64, "bytes", "read"),
	field("disk_read_time", sdk.Uint32, "ms", "spent reading"),
	field("disk_writes", sdk.Uint32, "", "writes"),
	field("disk_bytes_written", sdk.Uint64, "bytes", "written"),
	field("disk_write_time", sdk.Uint32, "ms", "spent writing"),

	// host_net_io.
	field("net_bytes_in", sdk.Uint64, "bytes", "received by the host"),
	field("net_pkts_in", sdk.Uint32, "packets", "received by the host"),
	field("net_errs_in", sdk.Uint32, "packets", "received with errors"),
	field("net_drops_in", sdk.Uint32, "packets", "received and dropped"),
	field("net_bytes_out", sdk.Uint64, "bytes", "sent by the host"),
	field("net_pkts_out", sdk.Uint32, "packets", "sent by the host"),
	field("net_errs_out", sdk.Uint32, "packets", "not sent because of errors"),
	field("net_drops_out", sdk.Uint32, "packets", "dropped instead of sent"),
}

// CountersSchema is all columns of counters samples.
var CountersSchema = sdk.NewSchema(Counters...)
