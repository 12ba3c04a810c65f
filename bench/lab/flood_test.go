//go:build linux

package lab

import "testing"

// Every flow beside a flood of templates is decoded, and each part has its cost.
func TestFloodIsMeasured(t *testing.T) {
	f, err := MeasureFlood(Cases[0], 1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f.Alone <= 0 || f.Beside <= 0 || f.Touched <= 0 || f.Template <= 0 || f.Templates < 1000 {
		t.Errorf("%+v", f)
	}
}
