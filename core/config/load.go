package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Options of Load and Parse.
type Options struct {
	Plugins      *Registry                         // what `type:` may name
	Env          func(name string) (string, bool)  // ${env:NAME}; nil: the process's
	ReadFile     func(name string) ([]byte, error) // ${file:PATH}; nil: the file system's
	Params       map[string]string                 // --param, over the defaults of the file
	Set          []string                          // --set, "path=value": over what the file says
	DrainTimeout *time.Duration                    // the process's, for pipelines that say nothing; nil: DefaultDrainTimeout
}

// Load reads a pipeline's file. The pipeline is nil only if nothing could be made of the text; otherwise it is as complete as the
// faults allow, so that package plan can look for more of them. It may be run only if the diagnostics have not Failed.
func Load(file string, opts Options) (*Pipeline, *Diagnostics) {
	text, err := readFile(file, MaxFileBytes)
	if err != nil {
		d := &Diagnostics{}
		help := readable(err)
		if info, serr := os.Stat(file); serr == nil && info.IsDir() {
			help = "name a file in it"
		}
		d.Add(Diagnostic{Code: CodeUnreadable, At: Pos{File: file}, Message: "the file cannot be read: " + reason(err), Help: help})
		return nil, d
	}
	return Parse(file, text, opts)
}

// readable says what to do about a file that cannot be read.
func readable(err error) string {
	if errors.Is(err, errSilentPipe) {
		return "name a file, or have something write the pipeline to the pipe"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "make it, and the directories it is in, readable for the user that weir runs as"
	}
	return "is the path right, seen from the directory the process was started in?"
}

// Parse is Load for a text that is read already. name is the file's: it gives the pipeline its name and stands in diagnostics.
func Parse(name string, text []byte, opts Options) (*Pipeline, *Diagnostics) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	if opts.ReadFile == nil {
		opts.ReadFile = func(name string) ([]byte, error) { return readFile(name, maxPutFile) }
	}
	r := &reading{d: &Diagnostics{}, opts: &opts, budget: MaxValues}
	p := r.pipeline(name, text)
	r.d.Sort()
	return p, r.d
}

func (r *reading) pipeline(name string, text []byte) *Pipeline {
	top := r.parse(name, text)
	if top == nil {
		return nil
	}
	base := filepath.Base(name)
	p := &Pipeline{Name: strings.TrimSuffix(base, filepath.Ext(base)), File: name, Text: r.d.Texts[name], Park: DefaultPark,
		DrainTimeout: DefaultDrainTimeout, secrets: &r.secrets}
	if d := r.opts.DrainTimeout; d != nil {
		p.DrainTimeout = *d
	}
	if top.broken {
		return nil
	}
	if top.kind != mapping {
		r.say(CodeWrongType, top.at, top.end(), "", "a pipeline has `sources:`, `processors:` and `sinks:`", "a pipeline is a map, not %s", top.kind)
		return nil
	}
	for i, s := range r.opts.Set {
		top = r.override(top, i, s)
	}
	r.readParams(p, top)
	for i := range top.keys {
		if k := &top.keys[i]; k.name != "doc" && k.name != "params" && !isExtension(k.name) {
			r.fill(k.v, k.name)
		}
	}
	keys := fileKeys{DrainTimeout: p.DrainTimeout, Park: p.Park}
	c := r.decoder("")
	c.unknown = func(k *key) (code, message, help string) {
		if near := Nearest(k.name, names(fieldsOf(reflect.TypeFor[fileKeys]()))); near == "" && len(kindsWith(k.name)) > 0 {
			return CodeUnknownKey, "unknown key `" + k.name + "`", "it belongs to a node"
		}
		return "", "", ""
	}
	known := *top
	known.keys = slices.DeleteFunc(slices.Clone(top.keys), func(k key) bool { return isExtension(k.name) })
	c.structure(&key{at: top.at, v: &known}, reflect.ValueOf(&keys).Elem(), "")
	p.Doc, p.DrainTimeout, p.Park = keys.Doc, keys.DrainTimeout, keys.Park
	ids := map[string]*Node{}
	for i, raw := range []rawValue{keys.Sources, keys.Processors, keys.Sinks} {
		if raw.k != nil {
			r.section(p, sections[i], raw.k, ids)
		}
	}
	return p
}

// isExtension says whether a key of the file's outermost map is the user's own: anchors and notes for other programs stand there, and nothing
// is made of it.
func isExtension(name string) bool { return strings.HasPrefix(name, extension) }

const extension = "x-"

func (r *reading) decoder(prefix string) *decoder {
	return &decoder{r: r, prefix: prefix, positions: map[string]Pos{}, scalars: map[string]*value{}}
}

// readParams fills p.Params: what was given, else the file's defaults.
func (r *reading) readParams(p *Pipeline, top *value) {
	r.params = map[string]string{}
	declared := []string{}
	if k := top.get("params"); k != nil && k.v.kind != null && !k.v.broken {
		if k.v.kind != mapping {
			at, end := mark(k)
			r.say(CodeWrongType, at, end, "params", "write `params: { name: default }`", "is %s; a map is wanted", k.v.kind)
		}
		for i := range k.v.keys {
			e := &k.v.keys[i]
			declared = append(declared, e.name)
			switch _, given := r.opts.Params[e.name]; {
			case given:
			case e.v.kind == scalar:
				r.fill(e.v, "params."+e.name)
				r.params[e.name] = e.v.text
			case e.v.kind != null: // null: it must be given
				at, end := mark(e)
				r.say(CodeWrongType, at, end, "params."+e.name, "", "is %s; a parameter is one value", e.v.kind)
			}
		}
	}
	given := make([]string, 0, len(r.opts.Params))
	for name := range r.opts.Params {
		given = append(given, name)
	}
	slices.Sort(given)
	for _, name := range given {
		r.params[name] = r.opts.Params[name]
		if !slices.Contains(declared, name) {
			r.say(CodeOverride, Pos{File: "--param"}, Pos{}, name, didYouMean(name, declared, "declared are"), "the pipeline declares no parameter `%s`", name)
		}
	}
	p.Params = r.params
}

func (r *reading) section(p *Pipeline, s section, k *key, ids map[string]*Node) {
	add := func(n *Node) {
		if first := ids[n.ID]; first != nil && n.ID != "" {
			r.say(CodeDuplicateID, n.At, after(n.At, n.ID, 0), n.path, "choose another id",
				"the id `%s` belongs to the %s on line %d already", n.ID, first.Kind, first.At.Line)
			n.ID += " (again)" // package plan sees both, so that it does not miss the second, and `from` finds the first
		} else if n.ID != "" {
			ids[n.ID] = n
		}
		p.Nodes = append(p.Nodes, n)
	}
	at, end := k.at, k.end
	switch {
	case k.v.kind == null || k.v.broken:
	case s.kind == sdk.KindProcessor && k.v.kind == list:
		for i, item := range k.v.items {
			if r.full() {
				return
			}
			prefix := fmt.Sprintf("processors[%d]", i)
			ik := itemKey(item)
			if id := item.get("id"); id != nil && id.v.kind == scalar {
				ik.at, ik.word = id.v.at, id.v
				if validID(id.v.text) == "" {
					prefix = "processors." + id.v.text
				}
			}
			if n := r.node(s, ik, "", prefix); n != nil {
				add(n)
			}
		}
	case s.kind == sdk.KindProcessor:
		r.say(CodeWrongType, at, end, s.name, "write each as `- id: name`, in the order in which records meet them", "processors are a list, not %s", k.v.kind)
	case k.v.kind != mapping:
		r.say(CodeWrongType, at, end, s.name, "write `"+s.name+": { id: { type: ... } }`", "%s are a map from ids to nodes, not %s", s.name, k.v.kind)
	default:
		for i := range k.v.keys {
			if r.full() {
				return
			}
			e := &k.v.keys[i]
			if n := r.node(s, e, e.name, s.name+"."+e.name); n != nil {
				add(n)
			}
		}
	}
}

var idForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

// validID says what is wrong with an id.
func validID(id string) string {
	switch {
	case id == "errors":
		return "`errors` names the stream of refused records and cannot be an id"
	case !idForm.MatchString(id):
		return "the id has 1 to 63 letters, digits, _ and -, and begins with a letter"
	}
	return ""
}

// node reads one node. k stands for the whole of it; id is empty for a processor, which has it among its keys.
func (r *reading) node(s section, k *key, id, prefix string) *Node {
	n := &Node{ID: id, Kind: s.kind, At: k.at, path: prefix, secrets: &r.secrets, OnError: DeadLetter,
		Retry: Retry{Initial: DefaultRetryInitial, Max: DefaultRetryMax}}
	c := r.decoder(prefix)
	n.Positions, n.scalars = c.positions, c.scalars
	if k.v.broken {
		return nil
	}
	if k.v.kind != mapping {
		at, end := mark(k)
		c.say(CodeWrongType, "", at, end, "a node is written { type: ... }", "is %s; a map is wanted", k.v.kind)
		return nil
	}
	typ := ""
	if t := k.v.get("type"); t != nil && t.v.kind == scalar {
		typ = t.v.text
	}
	n.Plugin = r.opts.Plugins.Lookup(s.kind, typ)
	c.unknown = func(e *key) (code, message, help string) { return misplaced(s, n.Plugin, e) }
	keys := sinkKeys{readerKeys: readerKeys{OnError: DeadLetter}, Retry: retryKeys{Initial: DefaultRetryInitial, Max: DefaultRetryMax}}
	switch s.kind {
	case sdk.KindSource:
		var own sourceKeys
		c.structure(k, reflect.ValueOf(&own).Elem(), "")
		keys.commonKeys = own.commonKeys
	case sdk.KindProcessor:
		own := processorKeys{readerKeys: keys.readerKeys}
		c.structure(k, reflect.ValueOf(&own).Elem(), "")
		n.ID, keys.commonKeys, keys.readerKeys = own.ID, own.commonKeys, own.readerKeys
	case sdk.KindSink:
		c.structure(k, reflect.ValueOf(&keys).Elem(), "")
	}
	n.Type, n.Lanes, n.OnError, n.InFlight, n.Epoch = keys.Type, keys.Lanes, keys.OnError, keys.InFlight, keys.Epoch
	n.Optional = keys.Ack == "optional"
	q := k.v.get("queue")
	n.Queue = Queue{keys.Queue.Bytes, keys.Queue.Batches, keys.Queue.WhenFull, q != nil && len(q.v.keys) > 0}
	n.Batch = Batch(keys.Batch)
	n.Retry = Retry(keys.Retry)
	if n.Retry.Max < n.Retry.Initial {
		if keys.Retry.Max == DefaultRetryMax && c.scalars["retry.max"] == nil {
			n.Retry.Max = n.Retry.Initial
		} else if !c.saidAbout("retry.max") && !c.saidAbout("retry.initial") {
			at, end := n.Place("retry.max", 0)
			c.say(CodeBadValue, "retry.max", at, end, "", "the longest pause (%s) is shorter than the first (%s)", n.Retry.Max, n.Retry.Initial)
		}
	}
	// A processor without an id has been told that the key is required.
	if n.ID != "" || s.kind != sdk.KindProcessor || k.v.get("id") != nil && k.v.get("id").v.kind == scalar {
		if why := validID(n.ID); why != "" {
			c.say(CodeBadID, "", k.at, k.ends(), "", "%s", why)
		}
	}
	r.refs(c, n, keys.From.k)
	r.options(c, n, k, keys.With.k)
	return n
}

// misplaced says what is the matter with a key that this kind of node does not have.
func misplaced(s section, plugin *sdk.Plugin, e *key) (code, message, help string) {
	if kinds := kindsWith(e.name); len(kinds) > 0 {
		help := "only " + strings.Join(kinds, " and ") + " have it"
		if e.name == "id" {
			help = "the id is the key under which the node stands"
		}
		return CodeKeyNotHere, s.name + " have no `" + e.name + "`", help
	}
	if plugin != nil && plugin.Spec.Config != nil {
		t := reflect.TypeOf(plugin.Spec.Config()).Elem()
		if slices.Contains(names(fieldsOf(t)), e.name) {
			return CodeUnknownKey, "unknown key `" + e.name + "`", "it is an option of " + plugin.Spec.Type + ": put it under `with:`"
		}
	}
	return "", "", ""
}

func (r *reading) refs(c *decoder, n *Node, k *key) {
	if k == nil || k.v.kind == null {
		return
	}
	items := []*value{k.v}
	if k.v.kind == list {
		items = k.v.items
	}
	c.positions["from"] = start(k)
	seen := map[string]bool{}
	for i, v := range items {
		if r.full() {
			return
		}
		if v.broken {
			continue
		}
		path := fmt.Sprintf("from[%d]", i)
		if v.kind != scalar {
			at, end := mark(&key{at: k.at, end: k.end, v: v})
			c.say(CodeWrongType, path, at, end, "write `id`, `id.output` or `errors`", "is %s; the name of a node is wanted", v.kind)
			continue
		}
		c.positions[path], c.scalars[path] = v.at, v
		node, port, dotted := strings.Cut(v.text, ".")
		ref := Ref{Node: node, Port: port, At: v.at}
		switch {
		case node == "" || dotted && port == "" || node == "errors" && dotted:
			c.say(CodeBadValue, path, v.at, v.end(), "write `id`, `id.output` or `errors`", "%s does not name an output", quote(v))
			continue
		case seen[v.text]:
			c.say(CodeReadTwice, path, v.at, v.end(), "remove one of them", "%s is read already", quote(v))
			continue
		}
		seen[v.text] = true
		n.From = append(n.From, ref)
	}
}

// options fills the plugin's configuration struct and asks it whether it is content.
func (r *reading) options(c *decoder, n *Node, whole, with *key) {
	if n.Plugin == nil {
		if n.Type != "" {
			r.unknownType(c, n)
		}
		return
	}
	if n.Plugin.Spec.Config == nil {
		if with != nil && with.v.kind != null {
			c.say(CodeUnknownKey, "with", with.at, with.end, "", "%s has no options", n.Type)
		}
		return
	}
	n.Config = n.Plugin.Spec.Config()
	if w := whole.v.get("with"); w != nil && w.v.broken {
		return
	}
	c.unknown = func(e *key) (code, message, help string) {
		fs := names(fieldsOf(reflect.TypeOf(n.Config).Elem()))
		if Nearest(e.name, fs) == "" && len(kindsWith(e.name)) > 0 {
			return CodeUnknownKey, "unknown key `" + e.name + "`", "it is not an option of " + n.Type + ": put it beside `with:`"
		}
		return "", "", ""
	}
	at := whole.v.get("type")
	sub := &decoder{r: r, prefix: fullPath(c.prefix, "with"), positions: map[string]Pos{}, scalars: map[string]*value{}, unknown: c.unknown}
	switch {
	case with == nil || with.v.kind == null:
		site := &key{at: at.v.at, word: at.v, v: &value{kind: mapping, at: at.v.at, src: at.v.src}}
		sub.structure(site, reflect.ValueOf(n.Config).Elem(), "")
	case with.v.kind != mapping:
		p, end := mark(with)
		c.say(CodeWrongType, "with", p, end, "write `with: { option: value }`", "is %s; a map is wanted", with.v.kind)
		return
	default:
		n.Positions["with"] = with.at
		sub.structure(with, reflect.ValueOf(n.Config).Elem(), "")
	}
	for path, pos := range sub.positions {
		n.Positions["with."+path] = pos
	}
	for path, v := range sub.scalars {
		n.scalars["with."+path] = v
	}
	check, ok := n.Config.(interface{ Validate() error })
	if !ok {
		return
	}
	for _, p := range problems(check.Validate()) {
		if !sub.follows(p.Path) {
			for _, d := range n.Diagnose(CodeBadValue, p) {
				r.d.Add(d)
			}
		}
	}
}

// follows says whether a problem is likely to be only what follows from a fault that has been told: then it would mislead.
func (c *decoder) follows(path string) bool {
	if len(c.failed) == 0 {
		return false
	}
	if _, written := c.positions[path]; !written {
		return true
	}
	for _, f := range c.failed {
		if f == path || strings.HasPrefix(f, path+".") || strings.HasPrefix(f, path+"[") || strings.HasPrefix(path, f+".") || strings.HasPrefix(path, f+"[") {
			return true
		}
	}
	return false
}

func (r *reading) unknownType(c *decoder, n *Node) {
	at, end := n.Place("type", 0)
	types := r.opts.Plugins.Types(n.Kind)
	help := didYouMean(n.Type, types, "known here:")
	for _, kind := range kinds {
		if kind != n.Kind && r.opts.Plugins.Lookup(kind, n.Type) != nil {
			help = n.Type + " is a " + string(kind)
			if near := Nearest(n.Type, types); near != "" {
				help += "; did you mean `" + near + "`?"
			}
		}
	}
	c.say(CodeUnknownType, "type", at, end, help, "there is no %s of type %s", n.Kind, quote(n.scalars["type"]))
}
