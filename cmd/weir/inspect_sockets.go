package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
		Example: "  weir inspect sockets --live 127.0.0.1:8686",
		Args:    cobra.MaximumNArgs(1),
	}
	form := outputFlag(cmd, "text", "json")
	live := cmd.Flags().String("live", "", "address of a running process's admin interface")
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		if *live == "" {
			return usage("sockets are what a running process has: say its admin interface's address with --live")
		}
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
	t := newTable("source", "listen", ">worker", ">buffer", ">asked", ">used", ">kernel drops", "trains", "balance", "asked", "because")
	for _, s := range list {
		listen, asked := s.Listen, ""
		if s.Inherited != "" {
			listen += " (" + s.Inherited + ")"
		}
		if string(s.BalanceAsked) != s.Balance {
			asked = string(s.BalanceAsked)
		}
		used := ""
		if s.Buffer > 0 {
			// The kernel counts its book-keeping in, and gives twice the buffer for that.
			used = fmt.Sprintf("%d%%", int64(s.Waiting)*100/(2*s.Buffer))
		}
		drops := blank(s.Drops)
		if s.Drops > 0 && s.DropsAtLeast {
			drops = "at least " + drops
		}
		trains := ""
		if s.GRO {
			trains = "yes"
		}
		if s.DropsWhy != "" {
			trains += "; a dropped one counts 1: " + s.DropsWhy
		}
		t.add(s.Node, listen, fmt.Sprint(s.Worker), sdk.Size(s.Buffer).String(), sdk.Size(s.BufferAsked).String(), used, drops, trains, s.Balance, asked, s.Why)
	}
	return t.write(a.out, "")
}
