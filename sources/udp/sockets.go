package udp

// Sockets is what the source answers under the topic `sockets`: what the system gave of what was asked.
type Sockets struct {
	Sockets []Socket `json:"sockets"`
}

// Socket is one worker's.
type Socket struct {
	Listen       string  `json:"listen"`
	Worker       int     `json:"worker"`
	Inherited    string  `json:"inherited,omitempty"`           // as `listen` says it: fd:0, fd:netflow
	BufferAsked  int64   `json:"receive_buffer_asked"`          // bytes of datagrams
	Buffer       int64   `json:"receive_buffer"`                // given
	Waiting      uint32  `json:"receive_buffer_used"`           // bytes; the kernel counts its book-keeping in, and gives twice the buffer for that
	BalanceAsked Balance `json:"balance_asked,omitempty"`       // empty: there is nothing to balance
	Balance      string  `json:"balance"`                       // in force
	Why          string  `json:"balance_reason,omitempty"`      // why it is not the one asked for
	GRO          bool    `json:"gro"`                           // the kernel hands over datagrams in trains where they came so
	Drops        uint64  `json:"kernel_drops"`                  // since this process opened or took over the socket
	DropsAtLeast bool    `json:"kernel_drops_at_least"`         // trains may have been dropped that count as one datagram, for good or until the worker has nothing left to read
	DropsWhy     string  `json:"kernel_drops_reason,omitempty"` // why trains that are dropped count as one for good; empty: they do not
}

func (s *source) sockets() *Sockets {
	out := &Sockets{Sockets: []Socket{}}
	for _, r := range s.Opened {
		out.Sockets = append(out.Sockets, r.socket())
	}
	return out
}
