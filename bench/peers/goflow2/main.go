// Command goflow2 is the peer as a collector: its own receiver, producer, format and file transport with the settings its own
// program has by default, wired from the library as that program wires them. Stopped by SIGTERM it prints as JSON how many flows it
// made, which its own program tells by HTTP.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/netsampler/goflow2/v2/format"
	_ "github.com/netsampler/goflow2/v2/format/binary"
	_ "github.com/netsampler/goflow2/v2/format/json"
	"github.com/netsampler/goflow2/v2/producer"
	protoproducer "github.com/netsampler/goflow2/v2/producer/proto"
	"github.com/netsampler/goflow2/v2/transport"
	_ "github.com/netsampler/goflow2/v2/transport/file"
	"github.com/netsampler/goflow2/v2/utils"
)

// counts are the peer's own: of its producer and of its queue.
type counts struct {
	flows, errors, dropped atomic.Uint64
}

type counting struct {
	producer.ProducerInterface
	c *counts
}

func (p counting) Produce(msg interface{}, args *producer.ProduceArgs) ([]producer.ProducerMessage, error) {
	ms, err := p.ProducerInterface.Produce(msg, args)
	p.c.flows.Add(uint64(len(ms)))
	return ms, err
}

// Dropped is told of datagrams for which its queue has no room.
func (c *counts) Dropped(utils.Message) { c.dropped.Add(1) }

func main() {
	listen := flag.String("listen", "127.0.0.1:2055", "address and port")
	form := flag.String("format", "json", "json or bin")
	// -transport.file is the library's own flag.
	if err := run(listen, form); err != nil {
		fmt.Fprintln(os.Stderr, "goflow2:", err)
		os.Exit(1)
	}
}

func run(listen, form *string) error {
	flag.Parse()
	host, p, err := net.SplitHostPort(*listen)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(p)
	if err != nil {
		return err
	}
	formatter, err := format.FindFormat(*form)
	if err != nil {
		return err
	}
	transporter, err := transport.FindTransport("file")
	if err != nil {
		return err
	}
	cfg, err := (&protoproducer.ProducerConfig{}).Compile()
	if err != nil {
		return err
	}
	made, err := protoproducer.CreateProtoProducer(cfg, protoproducer.CreateSamplingSystem)
	if err != nil {
		return err
	}
	c := new(counts)
	pipe := utils.NewFlowPipe(&utils.PipeConfig{Format: formatter, Transport: transporter, Producer: counting{made, c}})
	// One socket, two workers, a queue of a million: what listen=netflow://:2055 gives.
	receiver, err := utils.NewUDPReceiver(&utils.UDPReceiverConfig{Sockets: 1, Workers: 2, QueueSize: 1_000_000, ReceiverCallback: c})
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	if err := receiver.Start(host, port, pipe.DecodeFlow); err != nil {
		return err
	}
	go func() {
		for range receiver.Errors() {
			c.errors.Add(1)
		}
	}()
	<-stop
	flows := c.flows.Load() // what is still in its queue has not come out
	return json.NewEncoder(os.Stdout).Encode(map[string]uint64{"flows": flows, "errors": c.errors.Load(), "dropped": c.dropped.Load()})
}
