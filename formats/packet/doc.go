// Package packet dissects the first bytes of a frame into what a flow record says of it: addresses, ports, VLANs, labels.
//
// [Dissect] looks at one frame and fills one [Fields], which the caller keeps and reuses; nothing is allocated. The bytes are a
// stranger's and mostly cut short by a sampler: each length is bounded by what is there and by what the header around it says,
// each chain (tags, labels, extension headers, tunnels) has a limit, and what could be read before the bytes ended is given.
//
// A tunnel is a packet in a packet. By default the flow is the outer one; [Decapsulate] names the tunnels whose inner packet
// takes its place.
package packet
