// Command docs writes the reference pages under docs/reference from the code: keys, plugins, columns, diagnostics, metrics,
// commands, and the drawing of the quickstart. `make docs` runs it; a test fails when a page is not what it would write.
//
// What a user can ask the binary for is taken from the binary (`weir inspect plugins`, `--help`), the tables from the packages
// that own them. No page has a list of its own. The tests beside it run the examples of all pages.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "docs: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-docs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	weir, err := build(root, dir)
	if err != nil {
		return err
	}
	pages, err := pages(root, weir)
	if err != nil {
		return err
	}
	for name, text := range pages {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the directory of go.mod, the working directory or one above it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("there is no go.mod here or above")
		}
		dir = up
	}
}

// build makes the binary in dir. It carries no version, so that pages do not change with every commit.
func build(root, dir string) (weir string, err error) {
	weir = filepath.Join(dir, "weir")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", weir, "./cmd/weir")
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir: %w\n%s", err, text)
	}
	return weir, nil
}
