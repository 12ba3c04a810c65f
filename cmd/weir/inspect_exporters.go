package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/tcp"
	"github.com/weirflow/weir/sources/udp"
)

func (a *app) inspectExporters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exporters [PIPELINE]",
		Short: "Show who sends to a running process, and what is missing of it",
		Long: "Shows for each exporter of a running process how much it sends, in datagrams or over TCP in messages, and when it was heard last, what\n" +
			"of it was dropped, what its sequence numbers say was lost before Weir, how many templates and which sampling rates it has told, and\n" +
			"by how much its clock is wrong. Below stands what somebody should look at: why something was dropped, which template has not come, \n" +
			"which field has a length that its element cannot have.\n\n" +
			"What several sources and decoders know of one address is put together. What rate_limit dropped is missing in the sequence numbers too;\n" +
			"it is dropped and not lost, and told apart.",
		Example: "  weir inspect exporters\n  weir inspect exporters collect --live unix:/run/weir.sock -o json",
		Args:    cobra.MaximumNArgs(1),
	}
	form := outputFlag(cmd, "text", "json")
	live := liveFlag(cmd)
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		told, err := inspection(cmd.Context(), *live, sdk.TopicExporters, args)
		if err != nil {
			return err
		}
		list, err := joinExporters(told)
		if err != nil {
			return fmt.Errorf("%s answered something else than exporters: %w", *live, err)
		}
		if form.value == "json" {
			return writeJSON(a.out, map[string]any{"exporters": list})
		}
		return a.writeExporters(told.Time, list)
	})
	return cmd
}

// liveFlag is for what only a running process knows: the one at the usual address, unless another is named.
func liveFlag(cmd *cobra.Command) *string {
	usual := cmp.Or(os.Getenv(config.EnvPrefix+"ADMIN"), config.DefaultSettings().Admin)
	if usual == config.AdminOff {
		usual = config.DefaultSettings().Admin
	}
	return cmd.Flags().String("live", usual, "`address` of a running process's admin interface")
}

// inspection asks a running process about a topic.
func inspection(ctx context.Context, addr, topic string, pipeline []string) (*admin.Inspection, error) {
	path := "/api/v1/inspect/" + topic
	if len(pipeline) > 0 {
		path += "?pipeline=" + url.QueryEscape(pipeline[0])
	}
	text, err := fetch(ctx, addr, path)
	if err != nil {
		return nil, err
	}
	out := &admin.Inspection{}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("%s answered something else: %w", addr, err)
	}
	return out, nil
}

// exporter is all that is known of one address.
type exporter struct {
	Addr             string                `json:"exporter_addr"`
	Datagrams        uint64                `json:"datagrams"`
	Messages         uint64                `json:"messages,omitempty"`    // over TCP
	Connections      int                   `json:"connections,omitempty"` // over TCP, that are there now
	Bytes            uint64                `json:"bytes"`
	Rate             float64               `json:"datagrams_per_second"`
	First            *time.Time            `json:"first_seen,omitempty"`
	Last             *time.Time            `json:"last_seen,omitempty"`
	Dropped          map[sdk.Reason]uint64 `json:"dropped,omitempty"`
	Thinning         float64               `json:"thinning,omitempty"`
	Clock            float64               `json:"clock_ahead_seconds,omitempty"` // of the arrival of its datagrams
	Templates        int                   `json:"templates"`
	SamplingRates    []uint64              `json:"sampling_rates,omitempty"`
	LostFlows        uint64                `json:"lost_flows"`
	LostDatagrams    uint64                `json:"lost_datagrams"`
	LimitedFlows     uint64                `json:"limited_flows,omitempty"`     // missing too, and perhaps in datagrams that a limit dropped
	LimitedDatagrams uint64                `json:"limited_datagrams,omitempty"` // missing too, because a limit dropped them
	Waited           uint64                `json:"datagrams_waited"`
	NoTemplate       uint64                `json:"datagrams_no_template"`
	Missing          *decode.Missing       `json:"missing_template,omitempty"`
	WrongLengths     int                   `json:"fields_of_wrong_length,omitempty"` // of its templates, passed over
	WrongLength      *decode.WrongLength   `json:"field_of_wrong_length,omitempty"`  // the first
	From             string                `json:"source_addr,omitempty"`            // of an sFlow agent whose datagrams come from another address
	SubAgents        int                   `json:"sub_agents,omitempty"`
	Unrated          uint64                `json:"samples_without_sampling_rate,omitempty"`
	Rejected         uint64                `json:"rejected_bytes,omitempty"`
	Nodes            []string              `json:"nodes"` // pipeline.node: who knows of it
}

// joinExporters puts together what nodes tell, by address; the busiest first. Those that a source could not tell apart have no
// address.
func joinExporters(told *admin.Inspection) ([]*exporter, error) {
	by := map[string]*exporter{}
	var errs error
	for _, n := range told.Nodes {
		name := n.Pipeline + "." + n.Node
		if n.Error != "" {
			errs = errors.Join(errs, fmt.Errorf("%s: %s", name, n.Error))
			continue
		}
		// The answers of sources and decoders have different members; each is read as all of them.
		var sent udp.Exporters
		var streamed tcp.Exporters
		var decoded decode.Exporters
		if err := errors.Join(json.Unmarshal(n.Answer, &sent), json.Unmarshal(n.Answer, &streamed), json.Unmarshal(n.Answer, &decoded)); err != nil {
			return nil, err
		}
		of := func(addr string) *exporter {
			e := by[addr]
			if e == nil {
				e = &exporter{Addr: addr}
				by[addr] = e
			}
			if !slices.Contains(e.Nodes, name) {
				e.Nodes = append(e.Nodes, name)
			}
			return e
		}
		for i := range sent.Exporters {
			e := of(sent.Exporters[i].Addr)
			e.sends(&sent.Exporters[i])
			e.streams(&streamed.Exporters[i])
			e.tells(&decoded.Exporters[i])
		}
		for i := range sent.Others {
			of("").sends(&sent.Others[i])
			of("").streams(&streamed.Others[i])
		}
	}
	if len(by) == 0 && errs != nil {
		return nil, errs
	}
	list := slices.Collect(maps.Values(by))
	slices.SortFunc(list, func(x, y *exporter) int {
		return cmp.Or(cmp.Compare(y.Datagrams+y.Messages, x.Datagrams+x.Messages), compareAddrs(x.Addr, y.Addr))
	})
	return list, nil
}

func compareAddrs(x, y string) int {
	a, errA := netip.ParseAddr(x)
	b, errB := netip.ParseAddr(y)
	if errA != nil || errB != nil {
		return strings.Compare(x, y)
	}
	return a.Compare(b)
}

// sends adds what a source knows.
func (e *exporter) sends(s *udp.Exporter) {
	e.Datagrams += s.Datagrams
	e.Bytes += s.Bytes
	e.Rate += s.Rate
	if !s.First.IsZero() && (e.First == nil || s.First.Before(*e.First)) {
		e.First = &s.First
	}
	e.heard(&s.Last)
	for r, n := range s.Dropped {
		if e.Dropped == nil {
			e.Dropped = map[sdk.Reason]uint64{}
		}
		e.Dropped[r] += n
	}
	e.Thinning = max(e.Thinning, s.Thinning)
}

// streams adds what a source knows of an exporter's connections, beside what sends has added.
func (e *exporter) streams(s *tcp.Exporter) {
	e.Messages += s.Messages
	e.Connections += s.Connections
}

// tells adds what a decoder knows.
func (e *exporter) tells(d *decode.Exporter) {
	e.heard(d.Last)
	if d.Last != nil && d.Last == e.Last || e.Clock == 0 {
		e.Clock = d.ClockAhead
	}
	e.Templates += d.Templates
	for _, r := range d.SamplingRates {
		if !slices.Contains(e.SamplingRates, r) {
			e.SamplingRates = append(e.SamplingRates, r)
		}
	}
	e.LostFlows += d.LostFlows
	e.LostDatagrams += d.LostDatagrams
	e.LimitedFlows += d.LimitedFlows
	e.LimitedDatagrams += d.LimitedDatagrams
	e.Waited += d.Waited
	e.NoTemplate += d.NoTemplate
	if d.Missing != nil {
		e.Missing = d.Missing
	}
	e.WrongLengths += d.WrongLengths
	if e.WrongLength == nil {
		e.WrongLength = d.WrongLength
	}
	if d.From != "" {
		e.From = d.From
	}
	e.SubAgents = max(e.SubAgents, d.SubAgents)
	e.Unrated += d.Unrated
	e.Rejected += d.Rejected
}

func (e *exporter) heard(at *time.Time) {
	if at != nil && !at.IsZero() && (e.Last == nil || at.After(*e.Last)) {
		e.Last = at
	}
}

func (a *app) writeExporters(now time.Time, list []*exporter) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.out, "nobody has sent anything yet")
		return err
	}
	t := newTable("exporter", "from", ">datagrams", ">messages", ">per s", ">MiB", ">dropped", ">datagrams lost", ">flows lost", ">templates", ">sampling", ">clock", ">heard")
	var said strings.Builder
	for _, e := range list {
		t.add(e.cells(now)...)
		for _, line := range e.remarks() {
			said.WriteString("  " + e.name() + ": " + line + "\n")
		}
	}
	if err := t.write(a.out, ""); err != nil || said.Len() == 0 {
		return err
	}
	_, err := fmt.Fprint(a.out, "\n", wrap(said.String(), width(a.out), broken))
	return err
}

func (e *exporter) name() string {
	if e.Addr == "" {
		return "(others)"
	}
	return e.Addr
}

// shownRates is how many sampling rates have room in a line.
const shownRates = 3

func (e *exporter) cells(now time.Time) []string {
	var rates []string
	for _, r := range e.SamplingRates[:min(len(e.SamplingRates), shownRates)] {
		rates = append(rates, "1:"+number(r))
	}
	if len(e.SamplingRates) > shownRates {
		rates = append(rates, "…")
	}
	heard, rate, size := "", "", ""
	if e.Last != nil {
		heard = ago(now.Sub(*e.Last))
	}
	if e.Datagrams > 0 {
		rate = short(e.Rate)
	}
	if e.Bytes > 0 {
		size = fmt.Sprintf("%.1f", float64(e.Bytes)/(1<<20))
	}
	dropped := uint64(0)
	for _, n := range e.Dropped {
		dropped += n
	}
	return []string{e.name(), e.From, blank(e.Datagrams), blank(e.Messages), rate, size, blank(dropped), blank(e.LostDatagrams), blank(e.LostFlows), blank(e.Templates),
		strings.Join(rates, " "), e.clock(), heard}
}

// clockTolerance is what a clock may be off without a word: exporters tell whole seconds, and some send what they have a little later.
const clockTolerance = 5 * time.Second

// clock says by how much an exporter's clock is ahead (+) or behind (-), nothing if it is right.
func (e *exporter) clock() string {
	off := time.Duration(e.Clock * float64(time.Second))
	switch {
	case off > clockTolerance:
		return "+" + roughly(off)
	case off < -clockTolerance:
		return "-" + roughly(-off)
	}
	return ""
}

// remarks is what is to be said of an exporter that has no column, or that somebody should do something about.
func (e *exporter) remarks() (said []string) {
	add := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if len(e.Dropped) > 0 {
		var dropped []string
		for _, r := range slices.Sorted(maps.Keys(e.Dropped)) {
			dropped = append(dropped, fmt.Sprintf("%s %s", number(e.Dropped[r]), r))
		}
		if e.Thinning > 0 {
			dropped = append(dropped, fmt.Sprintf("1 in %.3g passes", e.Thinning))
		}
		add("dropped %s", strings.Join(dropped, ", "))
	}
	if limited := gaps(e.LimitedDatagrams, e.LimitedFlows); limited != nil {
		add("not lost but dropped by rate_limit are %s that are missing in its numbers", strings.Join(limited, " and "))
	}
	if m := e.Missing; m != nil {
		add("template %d of domain %d has not come; its data waits for it", m.ID, m.Domain)
	}
	if e.NoTemplate > 0 {
		add("%s given up, for want of a template", counted(e.NoTemplate, "datagram"))
	}
	if e.Unrated > 0 {
		add("%s without a sampling rate", counted(e.Unrated, "sample"))
	}
	if w := e.WrongLength; w != nil {
		length := counted(uint64(w.Length), "byte")
		if w.Length == netflow.Variable {
			length = "variable length"
		}
		text := fmt.Sprintf("%s of %s in template %d of domain %d", w.Element, length, w.ID, w.Domain)
		if e.WrongLengths > 1 {
			text += fmt.Sprintf(", and %s more", number(uint64(e.WrongLengths-1)))
		}
		add("passed over, for it cannot have this length: %s", text)
	}
	if off := e.clock(); off != "" {
		how := map[byte]string{'+': "ahead", '-': "behind"}[off[0]]
		add("its clock is %s %s: set it by NTP, or flows have wrong times", off[1:], how)
	}
	return said
}

// gaps says how much is missing, as far as anything is.
func gaps(datagrams, flows uint64) (said []string) {
	if datagrams > 0 {
		said = append(said, counted(datagrams, "datagram"))
	}
	if flows > 0 {
		said = append(said, counted(flows, "flow"))
	}
	return said
}

// ago says how long ago something was, roughly.
func ago(d time.Duration) string {
	if d < time.Second {
		return "now"
	}
	return roughly(d) + " ago"
}

// roughly is a time in its largest unit of which there are two.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}
