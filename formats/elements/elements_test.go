package elements_test

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Ids and names are unique within an enterprise, names make columns, and every type has one.
func TestTableIsSound(t *testing.T) {
	column := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	ids, names, v9 := map[[2]uint32]string{}, map[string]bool{}, map[uint16]string{}
	count := map[uint32]int{}
	for _, e := range elements.All() {
		count[e.PEN]++
		k := [2]uint32{e.PEN, uint32(e.ID)}
		if other := ids[k]; other != "" {
			t.Errorf("%v is %s and %s", k, other, e)
		}
		ids[k] = e.String()
		if names[e.String()] {
			t.Errorf("%s twice", e)
		}
		names[e.String()] = true
		if e.V9 != 0 {
			if v9[e.V9] != "" || e.V9 < 1<<15 {
				t.Errorf("v9 field type %d is %s and %s", e.V9, v9[e.V9], e)
			}
			v9[e.V9] = e.String()
		}
		if e.ID == 0 || e.PEN != elements.PaloAlto && e.ID >= 1<<15 {
			t.Errorf("%s has id %d, which IPFIX cannot carry", e, e.ID)
		}
		if !column.MatchString(e.Column()) {
			t.Errorf("%s would be column %q", e, e.Column())
		}
		if ty, _ := e.Type.Column(); ty == 0 {
			t.Errorf("%s has no column type", e)
		}
		if got, ok := elements.ByName(e.String()); !ok || got != e {
			t.Errorf("ByName(%s) is %v, %v", e, got, ok)
		}
		if got, ok := elements.Lookup(e.PEN, e.ID); !ok || got != e {
			t.Errorf("Lookup of %s is %v, %v", e, got, ok)
		}
	}
	if count[elements.IANA] < 480 || count[elements.Reverse] < 400 || count[elements.Cisco] < 60 {
		t.Errorf("the registry is not whole: %v", count)
	}
}

// What the table of flow columns says of an element agrees with the registry.
func TestAgreesWithTheColumns(t *testing.T) {
	// NetFlow v9 and the exporters' use give these other meanings than their abstract type alone.
	special := map[uint16]bool{
		22: true, 21: true, // milliseconds of uptime
		158: true, 159: true, // microseconds before the export
		32: true, 139: true, // type and code
		70: true, 71: true, 72: true, 73: true, 74: true, 75: true, 76: true, 77: true, 78: true, 79: true, // labels
		315: true, 104: true, // frames
		95: true, // octets read as a number
	}
	for _, c := range flow.Columns {
		for _, x := range c.Elements {
			e, ok := elements.Lookup(x.PEN, x.ID)
			if !ok && x.PEN == 0 {
				e, ok = elements.V9(x.ID)
			}
			if !ok {
				if x.PEN != 0 || x.ID != 104 {
					t.Errorf("column %s is filled by %d/%d, which the registry lacks", c.Name, x.PEN, x.ID)
				}
				continue
			}
			if _, enc := e.Type.Column(); enc != x.Enc && !(x.PEN == 0 && special[x.ID]) {
				t.Errorf("column %s reads %s (%s) as encoding %d, the registry as %d", c.Name, e, e.Type, x.Enc, enc)
			}
		}
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string]elements.Element{
		"applicationName":        {ID: 96, Name: "applicationName", Type: elements.String, Reversible: true},
		"cisco.applicationName":  {ID: 96, Name: "applicationName", Type: elements.String, Reversible: true},
		"iana.octetDeltaCount":   {ID: 1, Name: "octetDeltaCount", Type: elements.Unsigned64, Unit: "octets", Reversible: true},
		"reverseOctetDeltaCount": {PEN: 29305, ID: 1, Name: "reverseOctetDeltaCount", Type: elements.Unsigned64, Unit: "octets", Reversible: true},
		"cisco.username":         {PEN: 9, ID: 7232, V9: 40000, Name: "username", Type: elements.String},
		"ingressAclId":           {PEN: 9, ID: 232, V9: 33000, Name: "ingressAclId", Type: elements.OctetArray},
		"ntop.L7_PROTO_NAME":     {PEN: 35632, ID: 119, V9: 57591, Name: "L7_PROTO_NAME", Type: elements.String},
		"paloalto.appId":         {PEN: 25461, ID: 56701, V9: 56701, Name: "appId", Type: elements.String},
	} {
		got, ok := elements.ByName(name)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: found %v (-want +got)\n%s", name, ok, diff)
		}
	}
	for _, name := range []string{"", "flowId2", "reverseFlowId", "reverseBiflowDirection", "cisco.", "cisco.applicationNam", "cisco.reverseOctetDeltaCount", "cisco.L7_PROTO_NAME"} {
		if e, ok := elements.ByName(name); ok {
			t.Errorf("%q is %s", name, e)
		}
	}
}

func TestNear(t *testing.T) {
	for name, want := range map[string]string{"aplicationName": "applicationName", "octet_delta_count": "octetDeltaCount", "cisco.userName": "cisco.username", "zzzzqqqq": ""} {
		if got := elements.Near(name); got != want {
			t.Errorf("near %s: %q, want %q", name, got, want)
		}
	}
}

func TestSearch(t *testing.T) {
	names := func(es []elements.Element) (s []string) {
		for _, e := range es {
			s = append(s, e.String())
		}
		return s
	}
	for text, want := range map[string][]string{
		"33000":                 {"cisco.ingressAclId"},
		"cisco.applicationName": {"applicationName"},
		"9/234":                 {"cisco.firewallExtendedEvent"},
		"wlanssid":              {"wlanSSID", "reverseWlanSSID"},
		"no such thing":         nil,
	} {
		if diff := cmp.Diff(want, names(elements.Search(text))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
	if all := elements.Search(""); len(all) < 1000 {
		t.Errorf("%d elements", len(all))
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{"sourceIPv4Address": "source_ipv4_address", "bgpSourceAsNumber": "bgp_source_as_number", "wlanSSID": "wlan_ssid",
		"L7_PROTO_NAME": "l7_proto_name", "dot1qVlanId": "dot1q_vlan_id", "postNATSourceIPv4Address": "post_nat_source_ipv4_address", "httpReqUrl": "http_req_url"} {
		if got := elements.Snake(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// A type's column can hold what its encoding makes.
func TestTypesFit(t *testing.T) {
	if ty, enc := elements.IPv4Address.Column(); ty != sdk.Addr || enc != flow.IPv4 {
		t.Errorf("ipv4Address: %v %v", ty, enc)
	}
	for _, name := range elements.Types() {
		if ty, ok := elements.TypeOf(name); !ok || ty.String() != name {
			t.Errorf("%s: %v, %v", name, ty, ok)
		}
	}
}
