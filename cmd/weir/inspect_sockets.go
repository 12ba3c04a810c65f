package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/udp"
)

func (a *app) inspectSockets() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sockets [PIPELINE]",
		Short: "Show what the system gave a running process of what it asked for",
		Long: "Shows the UDP sockets of a running process: the receive buffer asked for and given, and how full it is; how datagrams are spread\n" +
			"over the workers, and why not as asked; what the kernel dropped, and whether it hands over datagrams in trains. \"At least\" stands\n" +
			"before a count of drops while trains among them count as one datagram: until the worker has read all that waits, or for good, with the reason.",
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
		list := []nodeSocket{}
		for _, n := range told.Nodes {
			name := n.Pipeline + "." + n.Node
			if n.Error != "" {
				return errors.New(name + ": " + n.Error)
			}
			var s udp.Sockets
			if err := json.Unmarshal(n.Answer, &s); err != nil {
				return fmt.Errorf("%s answered something else than sockets: %w", *live, err)
			}
			for _, x := range s.Sockets {
				list = append(list, nodeSocket{name, x})
			}
		}
		if form.value == "json" {
			return writeJSON(a.out, map[string]any{"sockets": list})
		}
		return a.writeSockets(list)
	})
	return cmd
}

// nodeSocket is a socket and whose it is: pipeline.node.
type nodeSocket struct {
	Node string `json:"node"`
	udp.Socket
}

func (a *app) writeSockets(list []nodeSocket) error {
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
