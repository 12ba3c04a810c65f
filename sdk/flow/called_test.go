package flow

import "testing"

// Whatever name it is called by, what is meant is a column that there is; and no column's own name stands for another one.
func TestCalledNamesAreColumns(t *testing.T) {
	for name, column := range called {
		if Index(column) < 0 {
			t.Errorf("%s stands for %s, and there is no such column", name, column)
		}
	}
	for _, c := range Columns {
		if got := Called(c.Name); got != "" && got != c.Name {
			t.Errorf("the column %s stands for %s", c.Name, got)
		}
	}
	for name, want := range map[string]string{"src_ip": "src_addr", "dstAddr": "dst_addr", "IPV4_SRC_ADDR": "src_addr", "destinationIPv6Address": "dst_addr",
		"L4_DST_PORT": "dst_port", "dport": "dst_port", "in_bytes": "bytes", "octetDeltaCount": "bytes", "proto": "protocol", "SrcAS": "src_as", "packetz": "",
		"": ""} {
		if got := Called(name); got != want {
			t.Errorf("%s stands for %q, want %q", name, got, want)
		}
	}
}
