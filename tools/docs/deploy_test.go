package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/weirflow/weir/core/admin"
)

// rule is one alert.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

var (
	metricName = regexp.MustCompile(`\bweir_[a-z_]+`)
	tableRow   = regexp.MustCompile("(?m)^\\| `(weir_[a-z_]+)` ")
	reasonOf   = regexp.MustCompile(`reason!?[=~]+"([a-z_|]+)"`)
)

// Guarantees: every alert asks for metrics and reasons that there are, says what to do, and is explained on the page of what to watch.
func TestAlertRules(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "weir.rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var metrics []string
	for _, m := range tableRow.FindAllStringSubmatch(admin.Table(), -1) {
		metrics = append(metrics, m[1])
	}
	reasons, err := os.ReadFile(filepath.Join(root, "docs", "guides", "ledger.md"))
	if err != nil {
		t.Fatal(err)
	}
	plugins, err := os.ReadFile(filepath.Join(root, "docs", "reference", "plugins.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "guides", "watching.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			seen++
			for _, m := range metricName.FindAllString(r.Expr, -1) {
				if !slices.Contains(metrics, m) {
					t.Errorf("%s: there is no metric %s", r.Alert, m)
				}
			}
			for _, m := range reasonOf.FindAllStringSubmatch(r.Expr, -1) {
				for _, reason := range strings.Split(m[1], "|") {
					if !strings.Contains(string(reasons)+string(plugins), reason) {
						t.Errorf("%s: there is no reason %s", r.Alert, reason)
					}
				}
			}
			if r.Annotations["summary"] == "" || r.Annotations["do"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s does not say what is wrong, what to do and how bad it is", r.Alert)
			}
			if !strings.Contains(string(page), "`"+r.Alert+"`") {
				t.Errorf("docs/guides/watching.md does not explain %s", r.Alert)
			}
		}
	}
	if seen < 8 {
		t.Errorf("%d alerts were looked at", seen)
	}
}

// Guarantees: each alert is raised by its fault, the first loss within a minute, and none while all is well.
func TestAlertsFire(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (tools/ci/install.sh brings it)")
	}
	cmd := exec.CommandContext(t.Context(), tool, "test", "rules", "weir.rules.test.yaml")
	cmd.Dir = filepath.Join(root, "deploy", "prometheus")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Guarantees: systemd finds nothing wrong with the units, but for the binary that is not there.
func TestUnits(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this system:", err)
	}
	dir := t.TempDir()
	var names []string
	for _, name := range []string{"weir.service", "weir.socket"} {
		text, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/weir", weir)), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, file)
	}
	cmd := exec.CommandContext(t.Context(), tool, append([]string{"verify", "--man=no"}, names...)...)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) { // what it says of the system's own units is not ours
		t.Errorf("%v\n%s", err, out)
	}
}
