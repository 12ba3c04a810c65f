package sflow

import (
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// structure is a kind of counters that is decoded, of enterprise 0.
type structure uint8

const (
	ifCounters structure = iota
	ethernetCounters
	vlanCounters
	processor
	portName
	hostDescr
	hostCPU
	hostMemory
	hostDiskIO
	hostNetIO
	structures
)

// structureNames are those of sFlow's documents: "sFlow Version 5" and "sFlow Host Structures"; port_name is of "sFlow OpenFlow
// Structures".
var structureNames = [structures]string{"if_counters", "ethernet_counters", "vlan_counters", "processor", "port_name",
	"host_descr", "host_cpu", "host_memory", "host_disk_io", "host_net_io"}

// structureSizes are bytes that are always there: newer agents send three numbers more in host_cpu.
var structureSizes = [structures]int{88, 52, 28, 28, 4, 32, 68, 72, 52, 40}

func structureOf(format uint32) (structure, bool) {
	switch format {
	case 1:
		return ifCounters, true
	case 2:
		return ethernetCounters, true
	case 5:
		return vlanCounters, true
	case 1001:
		return processor, true
	case 1005:
		return portName, true
	case 2000:
		return hostDescr, true
	case 2003:
		return hostCPU, true
	case 2004:
		return hostMemory, true
	case 2005:
		return hostDiskIO, true
	case 2006:
		return hostNetIO, true
	}
	return 0, false
}

// Words of host_descr, by their numbers.
var (
	machineTypes = words8("unknown", "other", "x86", "x86_64", "ia64", "sparc", "alpha", "powerpc", "m68k", "mips", "arm", "hppa", "s390")
	osNames      = words8("unknown", "other", "linux", "windows", "darwin", "hpux", "aix", "dragonfly", "freebsd", "netbsd", "openbsd", "osf", "solaris", "java")
)

func words8(ws ...string) (bs [][]byte) {
	for _, w := range ws {
		bs = append(bs, []byte(w))
	}
	return bs
}

// kind is how a value is written on the wire.
type kind uint8

const (
	u32 kind = iota
	u64
	float // IEEE 754 of 32 bits
	adminBit
	operBit
	str // a string, of which only the length is of fixed width
	// Of host_descr, behind the host's name.
	uuid
	machineType
	osName
	osRelease
)

func (k kind) width() int {
	switch k {
	case u64:
		return 8
	case uuid, machineType, osName, osRelease:
		return 0
	}
	return 4
}

// told is where a column comes from.
type told struct {
	of   structure
	at   int
	kind kind
}

// counterFields are all columns that structures tell. Values of one structure are listed in its order.
var counterFields = func() map[string]told {
	m := map[string]told{}
	at, of := 0, structure(0)
	begin := func(s structure) { of, at = s, 0 }
	is := func(k kind, names ...string) {
		for _, n := range names {
			m[n] = told{of, at, k}
			at += k.width()
		}
	}
	begin(ifCounters)
	is(u32, "if_index", "if_type")
	is(u64, "if_speed")
	is(u32, "if_direction")
	is(adminBit, "if_admin_status")
	at -= 4 // the same word
	is(operBit, "if_oper_status")
	is(u64, "if_in_octets")
	is(u32, "if_in_ucast_pkts", "if_in_multicast_pkts", "if_in_broadcast_pkts", "if_in_discards", "if_in_errors", "if_in_unknown_protos")
	is(u64, "if_out_octets")
	is(u32, "if_out_ucast_pkts", "if_out_multicast_pkts", "if_out_broadcast_pkts", "if_out_discards", "if_out_errors", "if_promiscuous_mode")
	begin(ethernetCounters)
	is(u32, "dot3_stats_alignment_errors", "dot3_stats_fcs_errors", "dot3_stats_single_collision_frames", "dot3_stats_multiple_collision_frames",
		"dot3_stats_sqe_test_errors", "dot3_stats_deferred_transmissions", "dot3_stats_late_collisions", "dot3_stats_excessive_collisions",
		"dot3_stats_internal_mac_transmit_errors", "dot3_stats_carrier_sense_errors", "dot3_stats_frame_too_longs",
		"dot3_stats_internal_mac_receive_errors", "dot3_stats_symbol_errors")
	begin(vlanCounters)
	is(u32, "vlan_id")
	is(u64, "vlan_octets")
	is(u32, "vlan_ucast_pkts", "vlan_multicast_pkts", "vlan_broadcast_pkts", "vlan_discards")
	begin(processor)
	is(u32, "cpu_5s", "cpu_1m", "cpu_5m")
	is(u64, "total_memory", "free_memory")
	begin(portName)
	is(str, "if_name")
	begin(hostDescr)
	is(str, "hostname")
	is(uuid, "uuid")
	is(machineType, "machine_type")
	is(osName, "os_name")
	is(osRelease, "os_release")
	begin(hostCPU)
	is(float, "load_one", "load_five", "load_fifteen")
	is(u32, "proc_run", "proc_total", "cpu_num", "cpu_speed", "host_uptime", "cpu_user", "cpu_nice", "cpu_system", "cpu_idle", "cpu_wio",
		"cpu_intr", "cpu_sintr", "interrupts", "contexts", "cpu_steal", "cpu_guest", "cpu_guest_nice")
	begin(hostMemory)
	is(u64, "mem_total", "mem_free", "mem_shared", "mem_buffers", "mem_cached", "swap_total", "swap_free")
	is(u32, "page_in", "page_out", "swap_in", "swap_out")
	begin(hostDiskIO)
	is(u64, "disk_total", "disk_free")
	is(u32, "part_max_used", "disk_reads")
	is(u64, "disk_bytes_read")
	is(u32, "disk_read_time", "disk_writes")
	is(u64, "disk_bytes_written")
	is(u32, "disk_write_time")
	begin(hostNetIO)
	is(u64, "net_bytes_in")
	is(u32, "net_pkts_in", "net_errs_in", "net_drops_in")
	is(u64, "net_bytes_out")
	is(u32, "net_pkts_out", "net_errs_out", "net_drops_out")
	return m
}()

// head is what every sample has, whatever its structures.
type head uint8

const (
	headSubAgent head = iota
	headUptime
	headSequence
	headSampleSequence
	headClass
	headIndex
	headReceived
	headAgent
	headPort
	headStructures
)

var heads = map[string]head{"received": headReceived, "exported": headReceived, "exporter_addr": headAgent, "exporter_port": headPort, "sub_agent": headSubAgent,
	"uptime": headUptime, "sequence": headSequence, "sample_sequence": headSampleSequence, "source_id_class": headClass, "source_id_index": headIndex,
	"structures": headStructures}

// counterPlan is which values go into which columns.
type counterPlan struct {
	heads  []counterHead
	values []counterValue
}

type counterHead struct {
	col  int
	what head
}

type counterValue struct {
	col int
	told
}

// compileCounters makes the plan for the columns of out. Columns that are not of the table are not ours to fill.
func compileCounters(out *sdk.Schema) (p counterPlan) {
	for i, c := range out.Fields() {
		if f := flow.CountersSchema.Index(c.Name); f < 0 || flow.CountersSchema.Field(f).Type != c.Type {
			continue
		}
		if h, ok := heads[c.Name]; ok {
			p.heads = append(p.heads, counterHead{i, h})
		} else if v, ok := counterFields[c.Name]; ok {
			p.values = append(p.values, counterValue{i, v})
		}
	}
	return p
}
