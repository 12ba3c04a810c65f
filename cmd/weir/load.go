package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
)

// settingsFile is the usual name of the process's settings: in a directory it is no pipeline.
const settingsFile = "weir.yaml"

// pipelineFlags are --set and --param.
type pipelineFlags struct {
	set, params []string
	drain       *time.Duration // of the process's settings; nil: there are none
}

func (f *pipelineFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "put a value in place of the file's, `path=value`: sinks.out.batch.rows=5000")
	cmd.Flags().StringArrayVar(&f.params, "param", nil, "give a parameter that the pipeline declares, `name=value`")
}

func (f *pipelineFlags) options(a *app) (config.Options, error) {
	o := config.Options{Plugins: a.plugins, Set: f.set, DrainTimeout: f.drain}
	for _, p := range f.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok {
			return o, usage("--param %s: write it as name=value", p)
		}
		if o.Params == nil {
			o.Params = map[string]string{}
		}
		o.Params[name] = value
	}
	return o, nil
}

// files are the pipelines that the arguments name: files, and of a directory what ends in .yaml or .yml, by name.
func files(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			out = append(out, arg) // one that cannot be read is said with the others' faults
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, fmt.Errorf("read directory %s: %w", arg, err)
		}
		found := 0
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if e.IsDir() || ext != ".yaml" && ext != ".yml" || e.Name() == settingsFile || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			out = append(out, filepath.Join(arg, e.Name()))
			found++
		}
		if found == 0 {
			return nil, usage("there is no pipeline in %s: no file that ends in .yaml or .yml", arg)
		}
	}
	return out, nil
}

// load reads, checks and lays out pipelines. The plans are those of the files in their order, without those that have errors.
func (a *app) load(args []string, f *pipelineFlags) ([]*plan.Plan, *config.Diagnostics, error) {
	names, err := files(args)
	if err != nil {
		return nil, nil, err
	}
	if len(names) > 1 && len(f.set)+len(f.params) > 0 {
		return nil, nil, usage("--set and --param are for one pipeline, and %d are named", len(names))
	}
	opts, err := f.options(a)
	if err != nil {
		return nil, nil, err
	}
	all := &config.Diagnostics{}
	var plans []*plan.Plan
	for _, name := range names {
		p, d := config.Load(name, opts)
		pl, d := resolve(p, d)
		all.Merge(d)
		if pl != nil {
			plans = append(plans, pl)
		}
	}
	return plans, all, nil
}

// distinct says which pipelines of one process have one name.
func distinct(plans []*plan.Plan, d *config.Diagnostics) {
	for i, p := range plans {
		j := slices.IndexFunc(plans[:i], func(o *plan.Plan) bool { return o.Pipeline.Name == p.Pipeline.Name })
		if j < 0 {
			continue
		}
		if sameFile(p.Pipeline.File, plans[j].Pipeline.File) {
			d.Add(config.Diagnostic{Code: config.CodeDuplicateID, At: config.Pos{File: p.Pipeline.File},
				Message: "the pipeline is named twice", Help: "name the file once, or the directory that it is in"})
			continue
		}
		d.Add(config.Diagnostic{Code: config.CodeDuplicateID, At: config.Pos{File: p.Pipeline.File},
			Message: fmt.Sprintf("the pipeline of %s is called `%s` too", plans[j].Pipeline.File, p.Pipeline.Name),
			Help:    "a pipeline has its file's name, and metrics and state are kept under it: rename one of the files"})
	}
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// resolve lays out a pipeline as it was read; the plan is nil if anything is wrong with it.
func resolve(p *config.Pipeline, d *config.Diagnostics) (*plan.Plan, *config.Diagnostics) {
	if p == nil {
		return nil, d
	}
	pl, list := plan.Resolve(p, plan.Options{})
	for _, one := range list {
		d.Add(one)
	}
	d.Sort()
	if d.Failed() {
		return nil, d
	}
	return pl, d
}

// ready is load for commands that need pipelines without errors; what there is to say of them goes to standard error.
func (a *app) ready(args []string, f *pipelineFlags) ([]*plan.Plan, error) {
	plans, d, err := a.load(args, f)
	if err != nil {
		return nil, err
	}
	return plans, a.diagnose(d)
}

// one is ready for a single file.
func (a *app) one(arg string, f *pipelineFlags) (*plan.Plan, error) {
	if info, err := os.Stat(arg); err == nil && info.IsDir() {
		return nil, usage("%s is a directory: name a pipeline's file in it", arg)
	}
	plans, err := a.ready([]string{arg}, f)
	if err != nil {
		return nil, err
	}
	return plans[0], nil
}

func render(w io.Writer, d *config.Diagnostics, format config.Format) error {
	if format == config.FormatText && colored(w) {
		format = config.FormatColor
	}
	return config.Render(w, d, format)
}

// exists says whether there is a file of that name that is no directory.
func exists(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir() || err != nil && !errors.Is(err, fs.ErrNotExist)
}
