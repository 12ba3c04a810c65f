package engine

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// elsewhere are the lines of DESIGN 7 that no switch of the engine breaks, and the tests that show them. Why there is no switch is told in
// docs/adr/0010-rules-without-a-switch.md.
var elsewhere = []struct{ says, file, test string }{
	{"(2) a mark flushes later stages with force: nothing can be held there", "marks_test.go", "TestNothingIsHeldBehindAQueue"},
	{"(2) marks end at a node that does not keep ranges, and do not go on an optional branch", "marks_test.go", "TestWhereMarksGo"},
	{"(3) a saved position has 4,096 bytes at most", "../../sdk/position_test.go", "TestPositionFull"},
	{"(3) a note has 256 bytes at most", "../../sdk/position_test.go", "TestPositionRefuses"},
	{"(3) a note comes back with its block", "noter_test.go", "TestANoteComesBackAfterACrash"},
	{"(3) a segment without rows is committed without Prepare", "stored_test.go", "TestSegmentsWithoutRowsAreCommitted"},
	{"(4) a slow required sink holds offsets back", "stored_test.go", "TestAFileHoldsOffsetsBackAlone"},
	{"(6) a revoked partition is released when commits under way are answered", "../../sdk/sdktest/delivery/group_test.go", "TestReleaseWaitsForCommitsUnderWay"},
	{"(8) keys carry the life behind a choice that is not deterministic; sinks on errors take no part", "../plan/property_test.go", "TestAnyPipeline"},
	{"(8) the store's window outlasts the longest absence", "rules_test.go", "TestTheWindowOutlastsAnAbsence"},
}

func TestEachOtherRuleIsShown(t *testing.T) {
	for _, r := range elsewhere {
		text, err := os.ReadFile(r.file)
		if err != nil || !strings.Contains(string(text), "\nfunc "+r.test+"(") {
			t.Errorf("%s: %s has no %s (%v)", r.says, r.file, r.test, err)
		}
	}
}

// A switch that no life needs would be a rule that nobody has shown.
func TestEverySwitchIsNeeded(t *testing.T) {
	used := map[string]bool{}
	for _, rule := range needed {
		var off rules
		rule.off(&off)
		n := 0
		for v, i := reflect.ValueOf(off), 0; i < v.NumField(); i++ {
			if v.Field(i).Bool() {
				n++
				used[v.Type().Field(i).Name] = true
			}
		}
		if n != 1 {
			t.Errorf("%s switches %d rules off, want 1", rule.says, n)
		}
	}
	for of, i := reflect.TypeFor[rules](), 0; i < of.NumField(); i++ {
		if name := of.Field(i).Name; !used[name] {
			t.Errorf("no life is lived without %s", name)
		}
	}
}
