package config

import (
	"fmt"
	"slices"

	"github.com/weirflow/weir/sdk"
)

// Registry is the plugins that a pipeline may name, by kind and type. It is filled before it is used, and not changed after.
type Registry struct {
	plugins map[sdk.Kind]map[string]*sdk.Plugin
}

// NewRegistry makes a registry of the built-in plugins. Two of one kind and type are a programming error and panic.
func NewRegistry(plugins ...sdk.Plugin) *Registry {
	r := &Registry{}
	for _, p := range plugins {
		if err := r.Add(p); err != nil {
			panic("config: " + err.Error())
		}
	}
	return r
}

// Add adds a plugin. A kind and type that is there already is an error: a stranger's plugin never replaces a built-in one.
func (r *Registry) Add(p sdk.Plugin) error {
	kind, name := p.Spec.Kind, p.Spec.Type
	if r.plugins == nil {
		r.plugins = map[sdk.Kind]map[string]*sdk.Plugin{}
	}
	if r.plugins[kind] == nil {
		r.plugins[kind] = map[string]*sdk.Plugin{}
	}
	if r.plugins[kind][name] != nil {
		return fmt.Errorf("there are two plugins of kind %s and type %s", kind, name)
	}
	r.plugins[kind][name] = &p
	return nil
}

// Lookup is the plugin of that kind and type, nil if there is none.
func (r *Registry) Lookup(kind sdk.Kind, name string) *sdk.Plugin {
	if r == nil {
		return nil
	}
	return r.plugins[kind][name]
}

// Types lists the types of a kind in alphabetical order.
func (r *Registry) Types(kind sdk.Kind) []string {
	if r == nil {
		return nil
	}
	names := make([]string, 0, len(r.plugins[kind]))
	for name := range r.plugins[kind] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// All lists the plugins: sources, processors, sinks, each in alphabetical order.
func (r *Registry) All() []*sdk.Plugin {
	var all []*sdk.Plugin
	for _, kind := range kinds {
		for _, name := range r.Types(kind) {
			all = append(all, r.Lookup(kind, name))
		}
	}
	return all
}

var kinds = []sdk.Kind{sdk.KindSource, sdk.KindProcessor, sdk.KindSink}
