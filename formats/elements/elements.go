// Package elements is the registry of information elements: what IANA lists for IPFIX, the elements that vendors have published
// under their enterprise numbers, and the field types above 32767 that NetFlow v9 exporters use for the latter.
//
// The registry is data (elements.tsv); what a data type is on the wire and in a column follows from RFC 7012 and RFC 7011.
// Reverse elements (RFC 5103, enterprise 29305) are not listed: they follow from the forward ones.
package elements

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// Enterprise numbers of the registry.
const (
	IANA      = 0
	Cisco     = 9
	Nokia     = 637
	Juniper   = 2636
	Netscaler = 5951
	CERT      = 6871
	VMware    = 6876
	PaloAlto  = 25461
	Reverse   = 29305 // RFC 5103, 6.1: the other direction of IANA's elements
	Ntop      = 35632
)

var vendors = map[uint32]string{IANA: "iana", Cisco: "cisco", Nokia: "nokia", Juniper: "juniper", Netscaler: "netscaler", CERT: "cert",
	VMware: "vmware", PaloAlto: "paloalto", Reverse: "reverse", Ntop: "ntop"}

// Element is one information element.
type Element struct {
	PEN        uint32 // enterprise number, 0 for IANA's
	ID         uint16
	V9         uint16 // the field type NetFlow v9 uses where it is not ID: above 32767; 0: none is published
	Name       string // as its registry writes it, mostly in lowerCamelCase
	Type       Type
	Unit       string // "octets", "milliseconds", ...; empty where there is none
	Reversible bool   // RFC 5103 gives it a reverse element
}

// Vendor is the short name of the element's registry: "iana", "cisco".
func (e Element) Vendor() string { return VendorName(e.PEN) }

// String is the name by which [ByName] finds the element: IANA's by their own, the others as vendor.name.
func (e Element) String() string {
	if e.PEN == IANA || e.PEN == Reverse {
		return e.Name
	}
	return e.Vendor() + "." + e.Name
}

// Column is the element's name in snake_case.
func (e Element) Column() string { return Snake(e.Name) }

// VendorName is the short name of an enterprise; its number where the registry has none of its elements.
func VendorName(pen uint32) string {
	if v, ok := vendors[pen]; ok {
		return v
	}
	return strconv.FormatUint(uint64(pen), 10)
}

//go:embed elements.tsv
var table string

type registry struct {
	all   []Element // by enterprise and id
	byID  map[uint64]int
	names map[string]int // as String writes them; and by bare name, where only one vendor has it
	v9    map[uint16]int
}

// load reads the table when it is first needed: a process that names no element does not keep it.
var load = sync.OnceValue(func() *registry {
	r := &registry{byID: map[uint64]int{}, names: map[string]int{}, v9: map[uint16]int{}}
	for n, line := range strings.Split(strings.TrimRight(table, "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parse(line)
		if err != nil {
			panic(fmt.Sprintf("elements.tsv:%d: %v", n+1, err))
		}
		r.all = append(r.all, e)
		if e.Reversible {
			e.PEN, e.Name, e.V9 = Reverse, reverseName(e.Name), 0
			r.all = append(r.all, e)
		}
	}
	slices.SortFunc(r.all, func(a, b Element) int { return cmp.Or(cmp.Compare(a.PEN, b.PEN), cmp.Compare(a.ID, b.ID)) })
	bare := map[string]int{}
	for i, e := range r.all {
		r.byID[key(e.PEN, e.ID)] = i
		r.names[e.String()] = i
		if e.V9 != 0 {
			r.v9[e.V9] = i
		}
		if _, twice := bare[e.Name]; twice {
			bare[e.Name] = -1
		} else {
			bare[e.Name] = i
		}
	}
	for name, i := range bare {
		if _, taken := r.names[name]; !taken && i >= 0 {
			r.names[name] = i
		}
	}
	return r
})

func key(pen uint32, id uint16) uint64 { return uint64(pen)<<16 | uint64(id) }

func reverseName(name string) string { return "reverse" + strings.ToUpper(name[:1]) + name[1:] }

func parse(line string) (e Element, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 7 {
		return e, fmt.Errorf("%d columns, want 7", len(f))
	}
	num := func(s string, bits int) uint64 {
		v, e := strconv.ParseUint(s, 10, bits)
		err = cmp.Or(err, e)
		return v
	}
	e = Element{PEN: uint32(num(f[0], 32)), ID: uint16(num(f[1], 16)), V9: uint16(num(f[2], 16)), Name: f[3], Unit: f[5], Reversible: f[6] == "r"}
	var ok bool
	if e.Type, ok = TypeOf(f[4]); !ok {
		return e, fmt.Errorf("no data type %q", f[4])
	}
	return e, err
}

// All lists the registry by enterprise and id. The slice must not be changed.
func All() []Element { return load().all }

// Lookup finds an element by its enterprise number (0: IANA) and id.
func Lookup(pen uint32, id uint16) (Element, bool) {
	return load().at(load().byID[key(pen, id)], pen, id)
}

func (r *registry) at(i int, pen uint32, id uint16) (Element, bool) {
	if e := r.all[i]; e.PEN == pen && e.ID == id {
		return e, true
	}
	return Element{}, false
}

// ByName finds an element by its name: "applicationName", "cisco.username", "reverseOctetDeltaCount". The vendor may be left out
// where only one has an element of that name. IANA's are also found as Cisco's, "cisco.applicationName": most were field types of
// NetFlow v9 first, and Cisco's documents still call them its own.
func ByName(name string) (Element, bool) {
	r := load()
	if i, ok := r.names[strings.TrimPrefix(name, "iana.")]; ok {
		return r.all[i], true
	}
	if own, ok := strings.CutPrefix(name, "cisco."); ok {
		if i, ok := r.names[own]; ok && r.all[i].PEN == IANA {
			return r.all[i], true
		}
	}
	return Element{}, false
}

// V9 finds the element that NetFlow v9 exporters send under a field type above 32767, where they have no enterprise numbers: a
// vendor's element, with IPFIX's enterprise bit kept (Cisco), or from a base of the vendor's choice (ntop).
func V9(fieldType uint16) (Element, bool) {
	if i, ok := load().v9[fieldType]; ok {
		return load().all[i], true
	}
	return Element{}, false
}

// Search lists the elements whose name or vendor has text in it, upper and lower case being the same, or whose id is the number
// text or whose enterprise and id are those of text in the form "9/232". Nothing in text: all but the reverse ones.
func Search(text string) (found []Element) {
	named, ok := ByName(strings.TrimSpace(text))
	text = strings.ToLower(strings.TrimSpace(text))
	for _, e := range load().all {
		switch {
		case text == "":
			if e.PEN == Reverse {
				continue
			}
		case strings.Contains(strings.ToLower(e.String()), text), strings.Contains(e.Column(), text):
		case ok && e == named:
		case text == strconv.Itoa(int(e.ID)), e.V9 != 0 && text == strconv.Itoa(int(e.V9)):
		case text == fmt.Sprintf("%d/%d", e.PEN, e.ID):
		default:
			continue
		}
		found = append(found, e)
	}
	return found
}

// Near is the name most like one that is not in the registry; empty if none is.
func Near(name string) string {
	lower := strings.ToLower(name)
	best, least := "", max(2, len(name)/4)+1
	for _, e := range load().all {
		for _, s := range [2]string{e.String(), e.Column()} {
			if d := distance(lower, strings.ToLower(s), least); d < least {
				best, least = e.String(), d
			}
		}
	}
	return best
}

// distance is the number of letters to add, take away or change (Levenshtein), or limit if it is not below that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return min(row[len(b)], limit)
}

// Snake is an element's name in snake_case: "sourceIPv4Address" is "source_ipv4_address", "bgpSourceAsNumber" "bgp_source_as_number".
func Snake(name string) string {
	r := []rune(name)
	var b strings.Builder
	for i, c := range r {
		upper := unicode.IsUpper(c)
		if upper && i > 0 && r[i-1] != '_' {
			after := i+1 < len(r) && unicode.IsLower(r[i+1])
			// "IPv4": the small v belongs to the word.
			if after && r[i+1] == 'v' && i+2 < len(r) && unicode.IsDigit(r[i+2]) {
				after = false
			}
			if !unicode.IsUpper(r[i-1]) || after {
				b.WriteByte('_')
			}
		}
		switch {
		case c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
			b.WriteRune(unicode.ToLower(c))
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}
