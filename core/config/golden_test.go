package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each testdata/NAME.yaml gives the diagnostics in NAME.diags. A first line `# set: path=value` gives overrides.
func TestGoldenDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			opts := testOptions()
			for line := range strings.Lines(string(text)) {
				if set, ok := strings.CutPrefix(line, "# set: "); ok {
					opts.Set = append(opts.Set, strings.TrimSpace(set))
				}
				if param, ok := strings.CutPrefix(line, "# param: "); ok {
					name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
					opts.Params = map[string]string{name: value}
				}
			}
			_, d := Parse(filepath.Base(file), text, opts)
			var b strings.Builder
			if err := Render(&b, d, FormatText); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"hunter2", "s3cret", "correct horse"} {
				if strings.Contains(b.String(), secret) {
					t.Errorf("the secret %q is shown", secret)
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".diags"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("diagnostics differ (-golden +now; go test -update writes them anew):\n%s", diff)
			}
		})
	}
}
