package weir_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weirflow/weir"

// mayImport is who may import whom: for each room, the rooms its packages may use besides their own plugin or package folder.
// "*" is anything. A test file may use more: see mayTest.
var mayImport = map[string][]string{
	"cmd": {"*"}, "reports": {"*"}, "bench": {"*"}, "examples": {"*"}, "tools": {"*"},
	"core":       {"core", "sdk", "plugins"},
	"plugins":    {"plugins", "sdk"},
	"formats":    {"formats", "sdk"},
	"sdk":        {"sdk"},
	"bpf":        {"bpf"},
	"sources":    {"sdk", "formats", "bpf"},
	"processors": {"sdk", "formats", "bpf"},
	"sinks":      {"sdk", "formats", "bpf"},
}

// Nothing imports these.
var leaves = map[string]bool{"bench": true, "examples": true, "tools": true, "cmd": true}

type goFile struct {
	dir, name string
	file      *ast.File
}

// house parses every Go file of the module.
func house(t *testing.T) (files []goFile) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); path != "." && (strings.HasPrefix(n, ".") || n == "testdata" || n == "dist" || n == "bin") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != "." {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			return err
		}
		files = append(files, goFile{filepath.ToSlash(filepath.Dir(path)), filepath.Base(path), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImportsFollowTheDesign(t *testing.T) {
	for _, f := range house(t) {
		if f.dir == "." {
			continue
		}
		room, _, _ := strings.Cut(f.dir, "/")
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s: the design has no room %s/", f.dir, room)
			continue
		}
		for _, spec := range f.file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours {
				continue
			}
			if ok, why := arrow(f, room, allowed, to); !ok {
				t.Errorf("%s/%s imports %s: %s", f.dir, f.name, to, why)
			}
		}
	}
}

func arrow(f goFile, room string, allowed []string, to string) (bool, string) {
	target, _, _ := strings.Cut(to, "/")
	if leaves[target] && target != room {
		return false, target + "/ is imported by nobody"
	}
	if to == f.dir || strings.HasPrefix(to, f.dir+"/") || (plugin(f.dir) != "" && plugin(f.dir) == plugin(to)) {
		return true, "" // one's own
	}
	if room == "sdk" && f.dir == "sdk" && to != "sdk" && !strings.HasSuffix(f.name, "_test.go") {
		return false, "package sdk uses none of its subpackages"
	}
	for _, a := range allowed {
		if a == "*" || a == target {
			return true, ""
		}
	}
	return false, room + "/ may use only " + strings.Join(allowed, ", ")
}

// plugin is the folder of one plugin, "sources/udp"; empty for other rooms.
func plugin(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	switch parts[0] {
	case "sources", "processors", "sinks":
		return parts[0] + "/" + parts[1]
	}
	return ""
}

func TestEveryPackageHasADoc(t *testing.T) {
	has := map[string]bool{}
	for _, f := range house(t) {
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		has[f.dir] = has[f.dir] || (f.file.Doc != nil && len(strings.TrimSpace(f.file.Doc.Text())) > 40)
	}
	for dir, ok := range has {
		if !ok {
			t.Errorf("package %s has no comment that a newcomer could start from", dir)
		}
	}
}

func TestAPluginHasItsRooms(t *testing.T) {
	rooms := map[string]map[string]bool{}
	for _, f := range house(t) {
		if p := plugin(f.dir); p != "" && f.dir == p {
			if rooms[p] == nil {
				rooms[p] = map[string]bool{}
			}
			rooms[p][f.name] = true
		}
	}
	for p, files := range rooms {
		if !files["spec.go"] {
			t.Errorf("%s has no spec.go", p)
		}
		if name := filepath.Base(p) + ".go"; !files[name] {
			t.Errorf("%s has no %s", p, name)
		}
	}
}
