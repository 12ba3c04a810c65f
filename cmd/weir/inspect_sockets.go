package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/tcp"
	"github.com/weirflow/weir/sources/udp"
)

func (a *app) inspectSockets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sockets [PIPELINE]",
		Short: "Show what the system gave a running process of what it asked for",
		Long: "Shows the sockets of a running process. Of UDP: the receive buffer asked for and given, and how full it is; how datagrams are spread\n" +
			"over the workers, and why not as asked; what the kernel dropped, and whether it hands over datagrams in trains. \"At least\" stands\n" +
			"before a count of drops while trains among them count as one datagram: until the worker has read all that waits, or for good, with the\n" +
			"reason. Of TCP: who is connected, what came of each, and how often and how long the exporter was held back because the pipeline had no\n" +
			"room.",
		Example: "  weir inspect sockets\n  weir inspect sockets collect --live 10.0.0.5:8686",
		Args:    cobra.MaximumNArgs(1),
	}
	form := outputFlag(cmd, "text", "json")
	live := liveFlag(cmd)
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		told, err := inspection(cmd.Context(), *live, sdk.TopicSockets, args)
		if err != nil {
			return err
		}
		list := sockets{}
		for _, n := range told.Nodes {
			name := n.Pipeline + "." + n.Node
			if n.Error != "" {
				return errors.New(name + ": " + n.Error)
			}
			if err := list.add(name, n.Answer); err != nil {
				return fmt.Errorf("%s answered something else than sockets: %w", *live, err)
			}
		}
		if form.value == "json" {
			return writeJSON(a.out, map[string]any{"sockets": list.all})
		}
		return a.writeSockets(told.Time, &list)
	})
	return cmd
}

// sockets are those of all nodes, in their order, and by protocol.
type sockets struct {
	all []any
	udp []nodeSocket
	tcp []nodeListener
}

// nodeSocket is a socket and whose it is: pipeline.node.
type nodeSocket struct {
	Node     string `json:"node"`
	Protocol string `json:"protocol"` // udp
	udp.Socket
}

// nodeListener is the same of TCP, with its connections.
type nodeListener struct {
	Node string `json:"node"`
	tcp.Listener
}

// add takes a node's answer apart: those of TCP name their protocol.
func (s *sockets) add(node string, answer json.RawMessage) error {
	var told struct {
		Sockets []json.RawMessage `json:"sockets"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return err
	}
	for _, text := range told.Sockets {
		l := nodeListener{Node: node}
		if err := json.Unmarshal(text, &l.Listener); err != nil {
			return err
		}
		if l.Protocol != "" {
			s.tcp, s.all = append(s.tcp, l), append(s.all, l)
			continue
		}
		u := nodeSocket{Node: node, Protocol: "udp"}
		if err := json.Unmarshal(text, &u.Socket); err != nil {
			return err
		}
		s.udp, s.all = append(s.udp, u), append(s.all, u)
	}
	return nil
}

func (a *app) writeSockets(now time.Time, list *sockets) error {
	if len(list.udp) > 0 {
		if err := a.writeUDP(list.udp); err != nil {
			return err
		}
	}
	for i := range list.tcp {
		if i > 0 || len(list.udp) > 0 {
			fmt.Fprintln(a.out)
		}
		if err := a.writeListener(now, &list.tcp[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeListener(now time.Time, l *nodeListener) error {
	room := ""
	if l.SlabsLent >= l.SlabsAtMost {
		room = "; the pipeline has no room, so nothing is read"
	}
	fmt.Fprintf(a.out, "%s: %s on %s, %s of at most %s, %d of %d buffers with the pipeline%s\n", l.Node, l.Protocol, l.Listen,
		counted(len(l.Connections), "connection"), number(l.MaxConnections), l.SlabsLent, l.SlabsAtMost, room)
	if len(l.Connections) == 0 {
		return nil
	}
	t := newTable("exporter", ">connected", ">messages", ">MiB", ">heard", "held back")
	for _, c := range l.Connections {
		heard, held := "", ""
		if c.Last != nil {
			heard = ago(now.Sub(*c.Last))
		}
		if c.Waits > 0 {
			held = fmt.Sprintf("%s, %s in all", times(c.Waits), rounded(time.Duration(c.Waited*float64(time.Second))))
		}
		if c.Waiting {
			held = "now; " + held
		}
		if c.Shaking {
			held = "TLS begins"
		}
		t.add(c.Peer, ago(now.Sub(c.Since)), blank(c.Messages), fmt.Sprintf("%.1f", float64(c.Bytes)/(1<<20)), heard, held)
	}
	return t.write(a.out, "  ")
}

func (a *app) writeUDP(list []nodeSocket) error {
	t := newTable("source", "listen", ">worker", ">buffer", ">used", ">kernel drops", "trains", "balance")
	var said []string // what is not as asked, and why: once for all sockets of which it is so
	remark := func(format string, args ...any) {
		if line := fmt.Sprintf("  "+format, args...); !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	for _, s := range list {
		listen, balance, trains, used := s.Listen, s.Balance, "", ""
		if s.Inherited != "" {
			listen += " (" + s.Inherited + ")"
		}
		if s.Buffer > 0 {
			// The kernel counts its book-keeping in, and gives twice the buffer for that.
			used = fmt.Sprintf("%d%%", int64(s.Waiting)*100/(2*s.Buffer))
		}
		drops := blank(s.Drops)
		if s.Drops > 0 && s.DropsAtLeast {
			drops = "at least " + drops
		}
		if s.GRO {
			trains = "yes"
		}
		if s.Buffer < s.BufferAsked {
			remark("%s: a receive buffer of %s instead of %s: raise net.core.rmem_max, or give the process CAP_NET_ADMIN", s.Node, sdk.Size(s.Buffer), sdk.Size(s.BufferAsked))
		}
		if string(s.BalanceAsked) != s.Balance && s.BalanceAsked != "" {
			balance = "not as asked"
			remark("%s: balance by %s instead of %s: %s", s.Node, s.Balance, s.BalanceAsked, s.Why)
		}
		if s.DropsWhy != "" {
			remark("%s: of a train of datagrams that the kernel drops one is counted: %s", s.Node, s.DropsWhy)
		}
		t.add(s.Node, listen, fmt.Sprint(s.Worker), sdk.Size(s.Buffer).String(), used, drops, trains, balance)
	}
	if err := t.write(a.out, ""); err != nil || said == nil {
		return err
	}
	_, err := fmt.Fprint(a.out, "\n", wrap(strings.Join(said, "\n"), width(a.out), broken))
	return err
}
