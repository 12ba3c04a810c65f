package sdktest

import (
	"os"
	"path/filepath"
	"testing"
)

// TestData is a place below the shared test data, "flows/netflow", which stands beside the project or where WEIR_TESTDATA says. The
// test is skipped where there is none.
func TestData(t testing.TB, path string) string {
	t.Helper()
	at, err := FindTestData(path)
	if err != nil {
		t.Skipf("no test data: %v", err)
	}
	return at
}

// FindTestData is [TestData] for a test that has something to do without, such as a fuzz test with seeds of its own.
func FindTestData(path string) (string, error) {
	dir := os.Getenv("WEIR_TESTDATA")
	if dir == "" {
		root, err := projectRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "..", "shared", "testdata")
	}
	dir = filepath.Join(dir, path)
	_, err := os.Stat(dir)
	return dir, err
}

// projectRoot is the nearest directory with a go.mod above the package whose test runs.
func projectRoot() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(at, "go.mod"))
		if err == nil {
			return at, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", err
		}
		at = up
	}
}
